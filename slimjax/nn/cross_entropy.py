"""Cross entropy of a large vocabulary, without ever holding all the logits.

The logits of a language model are its largest array, [tokens, V]. Here they exist for
one block of tokens at a time, and are computed again for the gradient.
"""

from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax import native
from slimjax.native import calls
from slimjax.nn.products import MIN_ROWS, lay_in_rows, multiply, round_to

BLOCK_TOKENS = 512  # Tokens whose logits are in memory at once.


class _Loss(NamedTuple):
    """The static side: the type of the products, and what is added to the loss."""

    dtype: jnp.dtype
    label_smoothing: float
    z_loss: float

    def score(self, logits, lse, right):
        """Returns the loss of each column of `logits`, [V tokens], as [1 tokens]."""
        hit = jnp.take_along_axis(logits, right, 0)
        loss = lse - (1 - self.label_smoothing) * hit + self.z_loss * lse**2
        if self.label_smoothing:
            loss -= self.label_smoothing * logits.mean(0, keepdims=True)
        return loss

    def pull(self, weights, lse, right, slope):
        """Returns the gradient of the logits, [V tokens], rounded to `dtype`.

        Args:
            weights: The softmax, or a multiple of it that `slope[0]` undoes.
            lse: Log-sum-exp of each column, [1 tokens] as the next two.
            right: Target of each column.
            slope: Factor of the weights, and that of the loss, for each column.
        """
        entries = jnp.arange(len(weights))[:, None]
        share = weights * (slope[0] * (1 + 2 * self.z_loss * lse))
        hot = (1 - self.label_smoothing) * slope[1]
        share -= jnp.where(entries == right, hot, 0.0)
        if self.label_smoothing:
            share -= self.label_smoothing / len(entries) * slope[1]
        return lax.optimization_barrier(round_to(share, self.dtype))


def cross_entropy(
    x: Float[Array, "*batch D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "*batch"],
    *,
    dtype: DTypeLike = jnp.float32,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    block_tokens: int = BLOCK_TOKENS,
) -> Float[Array, "*batch"]:
    """Returns ``-log softmax(x @ embedding.T)[target]`` of each token, in nats.

    Args:
        x: Final activations.
        embedding: One row for each entry of the vocabulary.
        targets: The right entries, each in [0, V).
        dtype: Type of the products' operands; all else is float32.
        label_smoothing: Share of the target that is spread over the whole vocabulary.
        z_loss: Weight of ``log(Z) ** 2``, which keeps the logits' normaliser near 1.
        block_tokens: How many tokens have their logits in memory at once.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = cross_entropy(jnp.ones((1, 2)), jnp.eye(2), jnp.array([0]))
        >>> round(float(loss[0]), 4)
        0.6931

    References:
        Szegedy et al., "Rethinking the Inception Architecture", 2015, section 7.
        Chowdhery et al., "PaLM", 2022, section 5 (z-loss).
    """
    plain = not label_smoothing and not z_loss
    if plain and targets.size >= MIN_ROWS and native.is_enabled():
        rows = x.reshape(-1, x.shape[-1]).astype(jnp.float32)
        flat = targets.reshape(-1).astype(jnp.int32)
        losses = cast(Array, _native(rows, embedding, flat, jnp.dtype(dtype)))
        return losses.reshape(targets.shape)
    x, right = _split_blocks(x, targets, block_tokens)
    loss = _Loss(jnp.dtype(dtype), label_smoothing, z_loss)
    losses = cast(Array, _cross_entropy(x, embedding, right, loss))
    return losses.reshape(-1)[: targets.size].reshape(targets.shape)


def _split_blocks(x, targets, block_tokens):
    """Returns x as [blocks tokens D] and targets as [blocks 1 tokens], zero-padded."""
    block = max(min(block_tokens, targets.size), 1)
    padding = -targets.size % block
    x = jnp.pad(x.reshape(-1, x.shape[-1]), ((0, padding), (0, 0)))
    right = jnp.pad(targets.reshape(-1), (0, padding))
    return x.reshape(-1, block, x.shape[-1]), right.reshape(-1, 1, block)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _cross_entropy(x, embedding, targets, loss) -> Array:
    return _cross_entropy_fwd(x, embedding, targets, loss)[0]


def _cross_entropy_fwd(x, embedding, targets, loss):
    like = jnp.zeros((), x.dtype)
    table, x = embedding.astype(loss.dtype), x.astype(loss.dtype)

    def score_block(args):
        rows, right = args
        # Transposed, [V tokens], so that the gradient finds all operands row by row.
        logits = multiply(table, rows, transpose_right=True)
        top = logits.max(0, keepdims=True)
        lse = top + jnp.log(jnp.exp(logits - top).sum(0, keepdims=True))
        return loss.score(logits, lse, right), lse

    losses, lse = lax.map(score_block, (x, targets))
    return losses, (x, embedding, targets, lse, like)


def _cross_entropy_bwd(loss, residuals, slope):
    x, embedding, targets, lse, like = residuals
    table = embedding.astype(loss.dtype)
    columns = lay_in_rows(table.T)  # D V

    def pull_block(dtable, args):
        rows, right, lse, slope = args
        logits = multiply(table, rows, transpose_right=True)
        share = loss.pull(jnp.exp(logits - lse), lse, right, (slope, slope))
        return dtable + multiply(share, rows), multiply(columns, share).T

    zeros = jnp.zeros(embedding.shape, jnp.float32)
    dtable, dx = lax.scan(pull_block, zeros, (x, targets, lse, slope))
    return dx.astype(like.dtype), dtable.astype(embedding.dtype), None


_cross_entropy.defvjp(_cross_entropy_fwd, _cross_entropy_bwd)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _native(x, embedding, targets, dtype) -> Array:
    return calls.cross_entropy_forward(x, embedding, targets, dtype)[0]


def _native_fwd(x, embedding, targets, dtype):
    losses, lse = calls.cross_entropy_forward(x, embedding, targets, dtype)
    return losses, (x, embedding, targets, lse)


def _native_bwd(dtype, residuals, slope):
    x, embedding, targets, lse = residuals
    slopes = calls.cross_entropy_backward(x, embedding, targets, lse, slope, dtype)
    return *slopes, None


_native.defvjp(_native_fwd, _native_bwd)
