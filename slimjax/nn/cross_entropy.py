"""Cross entropy of tied or untied logits, without ever holding all the logits.

The logits of a language model are its largest array, [tokens, V]. Here they exist for
one block of tokens at a time, and are computed again for the gradient.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.nn.products import lay_in_rows, multiply, round_to


def cross_entropy(
    x: Float[Array, "*batch D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "*batch"],
    *,
    dtype: DTypeLike = jnp.float32,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    block_tokens: int = 512,
) -> Float[Array, "*batch"]:
    """Returns ``-log softmax(x @ embedding.T)[target]`` of each token, in nats.

    Args:
        x: Final activations.
        embedding: One row for each entry of the vocabulary.
        targets: The right entries.
        dtype: Type of the products' operands; all else is float32.
        label_smoothing: Share of the target that is spread over the whole vocabulary.
        z_loss: Weight of ``log(Z) ** 2``, which keeps the logits' normaliser near 1.
        block_tokens: How many tokens have their logits in memory at once.

    References:
        Szegedy et al., "Rethinking the Inception Architecture", 2015, section 7.
        Chowdhery et al., "PaLM", 2022, section 5 (z-loss).
    """
    rows = x.reshape(-1, x.shape[-1])
    num_tokens = rows.shape[0]
    block = min(block_tokens, num_tokens)
    padding = -num_tokens % block
    rows = jnp.pad(rows, ((0, padding), (0, 0))).reshape(-1, block, x.shape[-1])
    targets_ = jnp.pad(targets.reshape(-1), (0, padding)).reshape(-1, block)
    settings = (jnp.dtype(dtype), label_smoothing, z_loss)
    losses = _cross_entropy(rows, embedding, targets_, settings)
    return losses.reshape(-1)[:num_tokens].reshape(targets.shape)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _cross_entropy(x, embedding, targets, settings):
    return _cross_entropy_fwd(x, embedding, targets, settings)[0]


def _cross_entropy_fwd(x, embedding, targets, settings):
    dtype, smoothing, z_loss = settings
    table, like = embedding.astype(dtype), jnp.zeros((), x.dtype)
    x = x.astype(dtype)

    def score_block(args):
        rows, right = args
        logits = multiply(rows, table, transpose_right=True)
        top = logits.max(-1)
        lse = top + jnp.log(jnp.exp(logits - top[:, None]).sum(-1))
        hit = jnp.take_along_axis(logits, right[:, None], 1)[:, 0]
        loss = lse - (1 - smoothing) * hit + z_loss * lse**2
        if smoothing:
            loss -= smoothing * logits.mean(-1)
        return loss, lse

    losses, lse = lax.map(score_block, (x, targets))
    return losses, (x, embedding, targets, lse, like)


def _cross_entropy_bwd(settings, residuals, slope):
    dtype, smoothing, z_loss = settings
    x, embedding, targets, lse, like = residuals
    table = embedding.astype(dtype)
    columns = lay_in_rows(table.T)  # D V
    entries = jnp.arange(embedding.shape[0])[:, None]

    def pull_block(dtable, args):
        rows, right, lse, slope = args
        # Transposed, [V tokens]: no operand of the products then lies the wrong way.
        logits = multiply(table, rows, transpose_right=True)
        share = jnp.exp(logits - lse) * (slope * (1 + 2 * z_loss * lse))
        share -= jnp.where(entries == right, (1 - smoothing) * slope, 0.0)
        if smoothing:
            share -= smoothing / len(entries) * slope
        share = lax.optimization_barrier(round_to(share, dtype))
        return dtable + multiply(share, rows), multiply(columns, share).T

    zeros = jnp.zeros(embedding.shape, jnp.float32)
    dtable, dx = lax.scan(pull_block, zeros, (x, targets, lse, slope))
    return dx.astype(like.dtype), dtable.astype(embedding.dtype), None


_cross_entropy.defvjp(_cross_entropy_fwd, _cross_entropy_bwd)
