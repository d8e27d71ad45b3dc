"""Cross entropy of a large vocabulary, without ever holding all the logits.

The logits of a language model are its largest array, [tokens, V]. Here they exist for
one block of tokens at a time, and are computed again for the gradient. What is kept of
a token's logits z is its target's score and ``log Z = log sum_v exp(z_v)``, of which
all losses are made.
"""

from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax import native
from slimjax.native import calls
from slimjax.nn.products import MIN_ROWS, lay_in_rows, multiply, round_to

BLOCK_TOKENS = 512  # Tokens whose logits are in memory at once.


class Scores(NamedTuple):
    """What losses need to know of each token's logits, ``Float[Array, "*batch"]``.

    Attributes:
        target: The logit of the target.
        log_norm: ``log Z``, the log-sum-exp of all logits.
        mean: The mean of all logits.
    """

    target: Array
    log_norm: Array
    mean: Array

    @property
    def nats(self) -> Array:
        """Returns ``-log p(target) = log Z - z_target``."""
        return self.log_norm - self.target

    def loss(self, label_smoothing: float = 0.0, z_loss: float = 0.0) -> Array:
        """Returns the cross entropy, and what keeps it modest.

        Args:
            label_smoothing: Share of the target that is spread over the vocabulary:
                the cross entropy with ``(1 - s) * target + s / V``.
            z_loss: Weight of ``(log Z)^2``, which keeps the normaliser near 1.

        References:
            Szegedy et al., "Rethinking the Inception Architecture", 2015, section 7.
            Chowdhery et al., "PaLM", 2022, section 5 (z-loss).
        """
        loss = self.nats
        if label_smoothing:
            loss += label_smoothing * (self.target - self.mean)
        return loss + z_loss * self.log_norm**2 if z_loss else loss


def cross_entropy(
    x: Float[Array, "*batch D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "*batch"],
    *,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "*batch"]:
    """Returns ``-log softmax(x @ embedding.T)[target]`` of each token, in nats.

    The arguments are those of `score_targets`.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = cross_entropy(jnp.ones((1, 2)), jnp.eye(2), jnp.array([0]))
        >>> round(float(loss[0]), 4)
        0.6931
    """
    return score_targets(x, embedding, targets, dtype=dtype).nats


def score_targets(
    x: Float[Array, "*batch D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "*batch"],
    *,
    dtype: DTypeLike = jnp.float32,
    block_tokens: int = BLOCK_TOKENS,
) -> Scores:
    """Returns what losses need to know of the logits ``x @ embedding.T``.

    Args:
        x: Final activations.
        embedding: One row for each entry of the vocabulary.
        targets: The right entries, each in [0, V).
        dtype: Type of the products' operands; all else is float32.
        block_tokens: How many tokens have their logits in memory at once.
    """
    rows, right = x.reshape(-1, x.shape[-1]), targets.reshape(-1).astype(jnp.int32)
    by_kernel = len(rows) >= MIN_ROWS and native.is_enabled()
    rows = rows.astype(jnp.float32) if by_kernel else rows
    size = None if by_kernel else max(min(block_tokens, len(rows)), 1)
    scores = cast(Any, _score(rows, embedding, right, jnp.dtype(dtype), size))
    mean = rows.astype(jnp.float32) @ embedding.mean(0)
    return Scores(*(score.reshape(targets.shape) for score in (*scores, mean)))


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _score(x, embedding, targets, dtype, size):
    """Returns the targets' logits and log Z; by native kernels if `size` is None."""
    if size is None:
        return calls.cross_entropy_forward(x, embedding, targets, dtype)
    table = embedding.astype(dtype)

    def score_block(args):
        rows, right = args
        # Transposed, [V tokens], so that the gradient finds all operands row by row.
        logits = multiply(table, rows, transpose_right=True)
        top = logits.max(0)
        log_norm = top + jnp.log(jnp.exp(logits - top[None]).sum(0))
        return jnp.take_along_axis(logits, right[None], 0)[0], log_norm

    blocks = _split_blocks((x.astype(dtype), targets), size)
    return tuple(s.reshape(-1)[: len(x)] for s in lax.map(score_block, blocks))


def _score_fwd(x, embedding, targets, dtype, size):
    scores = cast(Any, _score(x, embedding, targets, dtype, size))
    # Rounded once: it would be kept in float32 for the gradient otherwise.
    kept = x if size is None else x.astype(dtype)
    return scores, (kept, embedding, targets, scores[1], jnp.zeros((), x.dtype))


def _score_bwd(dtype, size, residuals, slopes):
    x, embedding, targets, log_norm, like = residuals
    if size is None:
        dx, dtable = calls.cross_entropy_backward(
            *(x, embedding, targets, log_norm), *slopes, dtype=dtype
        )
        return dx, dtable, None
    table, entries = embedding.astype(dtype), jnp.arange(len(embedding))[:, None]
    columns = lay_in_rows(table.T)  # D V

    def pull_block(dtable, args):
        rows, right, log_norm, dtarget, dlog_norm = args
        logits = multiply(table, rows, transpose_right=True)
        share = jnp.exp(logits - log_norm[None]) * dlog_norm[None]
        share += jnp.where(entries == right[None], dtarget[None], 0.0)
        share = lax.optimization_barrier(round_to(share, dtype))
        return dtable + multiply(share, rows), multiply(columns, share).T

    blocks = _split_blocks((x, targets, log_norm, *slopes), size)
    dtable, dx = lax.scan(pull_block, jnp.zeros(embedding.shape, jnp.float32), blocks)
    dx = dx.reshape(-1, dx.shape[-1])[: len(x)]
    return dx.astype(like.dtype), dtable.astype(embedding.dtype), None


_score.defvjp(_score_fwd, _score_bwd)


def _split_blocks(arrays, size):
    """Returns arrays of tokens as [blocks size ...], padded with zeros."""

    def split(x):
        padding = [(0, -len(x) % size)] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, padding).reshape(-1, size, *x.shape[1:])

    return tuple(split(x) for x in arrays)
