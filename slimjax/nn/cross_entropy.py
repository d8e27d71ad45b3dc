"""Cross entropy of a large vocabulary, without ever holding all the logits.

The logits of a language model are its largest array, [tokens, V]. Here they exist for
one block of tokens at a time, and are computed again for the gradient. What is kept of
a token's logits z is its target's score and ``log Z = log sum_v exp(z_v)``, of which
all losses are made.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from slimjax import native
from slimjax.native import calls
from slimjax.nn.axes import mesh_to_share, spread
from slimjax.nn.gather import gather
from slimjax.nn.products import is_many, lay_in_rows, multiply, round_to, sums

BLOCK_TOKENS = 512  # Tokens whose logits are in memory at once.

CLOSED = -1e30
"""Logit of an entry that is closed: finite, so that no difference of two is NaN."""


class Scores(NamedTuple):
    """What losses need to know of each token's logits, ``Float[Array, "*batch"]``.

    Attributes:
        target: The logit of the target.
        log_norm: ``log Z``, the log-sum-exp of all logits.
        mean: The mean of all logits, of open entries.
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
    bias: Float[Array, " V"] | None = None,
    is_open: Bool[Array, " V"] | None = None,
) -> Scores:
    """Returns what losses need to know of the logits ``x @ embedding.T + bias``.

    Under ``jax.set_mesh`` each device scores its own tokens, by its own part of the
    vocabulary where the mesh cuts it.

    Args:
        x: Final activations.
        embedding: One row for each entry of the vocabulary.
        targets: The right entries, each in [0, V).
        dtype: Type of the products' operands; all else is float32.
        block_tokens: How many tokens have their logits in memory at once.
        bias: What is added to the logits; None for nothing.
        is_open: Which entries are open: others have no probability, take no gradient,
            and must not be targets. None when all are open.
    """
    right, dtype = targets.astype(jnp.int32), jnp.dtype(dtype)
    by_kernel = is_many(targets.size) and native.is_enabled()
    size = None if by_kernel else max(min(block_tokens, targets.size), 1)
    mean = _mean_logit(x, embedding, bias, is_open)
    x = x.astype(jnp.float32) if by_kernel else x
    offset = offset_of(len(embedding), bias, is_open)
    if offset is not None and by_kernel:
        x, embedding = _with_offset(x, embedding, offset, dtype)
        offset = None

    def score(
        x: Array,
        embedding: Array,
        right: Array,
        offset: Array | None = None,
        vocab: str | None = None,
    ) -> tuple[Array, Array]:
        own = x.reshape(-1, x.shape[-1]), embedding, right.reshape(-1), offset
        scores, log_norms = cast(Any, _score)(*own, dtype, size, vocab)
        return scores.reshape(right.shape), log_norms.reshape(right.shape)

    if mesh_to_share() is not None and x.ndim == 3:
        return Scores(*_score_on_mesh(score, x, embedding, right, offset, dtype), mean)
    return Scores(*score(x, embedding, right, offset), mean)


def offset_of(
    num_entries: int, bias: Float[Array, " V"] | None, is_open: Bool[Array, " V"] | None
) -> Float[Array, " V"] | None:
    """Returns what is added to logits: the bias, and `CLOSED` where none is open.

    Examples:
        >>> offset_of(2, None, jnp.array([True, False]))
        Array([ 0.e+00, -1.e+30], dtype=float32)
    """
    if is_open is None:
        return bias
    return jnp.where(is_open, jnp.zeros(num_entries) if bias is None else bias, CLOSED)


def _mean_logit(
    x: Array, embedding: Array, bias: Array | None, is_open: Array | None
) -> Float[Array, "*batch"]:
    """Returns the mean of the logits of open entries."""
    if is_open is None:
        row, own = embedding.mean(0), None if bias is None else bias.mean()
    else:
        share = is_open / jnp.maximum(is_open.sum(), 1)
        own = None if bias is None else jnp.sum(share * bias)
        row = jnp.matmul(share, embedding, **sums(embedding.dtype))
    mean = jnp.matmul(x.astype(jnp.float32), row, **sums(row.dtype))
    return mean if own is None else mean + own


def _with_offset(
    x: Array, embedding: Array, offset: Array, dtype: DTypeLike
) -> tuple[Float[Array, "*batch _"], Float[Array, "V _"]]:
    """Returns operands whose products are ``x @ embedding.T + offset``.

    The offset becomes columns of the table, beside ones. Where operands are rounded, it
    is split into parts, each of them the rounding error of the sum of those before.
    """
    parts, rest = [], offset
    for _ in range(1 if dtype == jnp.float32 else 3):
        parts.append(rest.astype(dtype).astype(jnp.float32))
        rest = rest - parts[-1]
    table = jnp.concatenate([embedding, jnp.stack(parts, 1)], axis=1)
    ones = jnp.ones((*x.shape[:-1], len(parts)), x.dtype)
    return jnp.concatenate([x, ones], axis=-1), table


def _score_on_mesh(
    score: Callable[..., tuple[Array, Array]],
    x: Float[Array, "B T D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "B T"],
    offset: Float[Array, " V"] | None,
    dtype: DTypeLike,
) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
    """Returns what `score` returns for the whole, computed by all devices of a mesh."""
    sizes = jax.sharding.get_abstract_mesh().shape
    vocab, width = spread(("vocab", "embed"), embedding.shape, sizes)
    tokens = spread(("batch", "positions"), targets.shape, sizes)

    def score_share(x, part, targets, offset):
        table = part if width is None else gather(part, width, dtype)
        return score(x, table, targets, offset, vocab)

    run = jax.shard_map(
        score_share,
        in_specs=(tokens, P(vocab, width), tokens, P(vocab)),
        out_specs=tokens,
        check_vma=False,
    )
    return run(x, embedding, targets, offset)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _score(x, embedding, targets, offset, dtype, size, vocab):
    """Returns the targets' logits and log Z; by native kernels if `size` is None.

    With an axis `vocab` of the mesh, `embedding` is this device's part of the table.
    """
    if size is None:
        return calls.cross_entropy_forward(x, embedding, targets, dtype)
    table, entries = embedding.astype(dtype), _entries(embedding, vocab)
    total = partial(lax.psum, axis_name=vocab) if vocab else lambda x: x

    def score_block(args):
        rows, right = args
        # Transposed, [V tokens], so that the gradient finds all operands row by row.
        logits = _add_offset(multiply(table, rows, transpose_right=True), offset)
        top = lax.pmax(logits.max(0), vocab) if vocab else logits.max(0)
        log_norm = top + jnp.log(total(jnp.exp(logits - top[None]).sum(0)))
        own = jnp.where(entries == right[None], logits, 0.0).sum(0)
        return total(own), log_norm

    blocks = _split_blocks((x.astype(dtype), targets), size)
    return tuple(s.reshape(-1)[: len(x)] for s in lax.map(score_block, blocks))


def _add_offset(logits, offset):
    """Returns logits [V tokens], with the offset [V] of their entries added."""
    return logits if offset is None else logits + offset[:, None]


def _entries(embedding, vocab):
    """Returns the numbers [V 1] of the entries of a table, or of a part of it."""
    first = lax.axis_index(vocab) * len(embedding) if vocab else 0
    return first + jnp.arange(len(embedding))[:, None]


def _score_fwd(x, embedding, targets, offset, dtype, size, vocab):
    scores = cast(Any, _score(x, embedding, targets, offset, dtype, size, vocab))
    # Rounded once: it would be kept in float32 for the gradient otherwise.
    kept = x if size is None else x.astype(dtype)
    like = jnp.zeros((), x.dtype)
    return scores, (kept, embedding, targets, offset, scores[1], like)


def _score_bwd(dtype, size, vocab, residuals, slopes):
    x, embedding, targets, offset, log_norm, like = residuals
    if size is None:
        dx, dtable = calls.cross_entropy_backward(
            *(x, embedding, targets, log_norm), *slopes, dtype=dtype
        )
        return dx, dtable, None, None
    if vocab:  # What all of an axis have got is a part of the slope each.
        slopes = lax.psum(slopes, vocab)
    table, entries = embedding.astype(dtype), _entries(embedding, vocab)
    columns = lay_in_rows(table.T)  # D V

    def pull_block(totals, args):
        dtable, doffset = totals
        rows, right, log_norm, dtarget, dlog_norm = args
        logits = _add_offset(multiply(table, rows, transpose_right=True), offset)
        share = jnp.exp(logits - log_norm[None]) * dlog_norm[None]
        share += jnp.where(entries == right[None], dtarget[None], 0.0)
        doffset = None if doffset is None else doffset + share.sum(1)
        share = lax.optimization_barrier(round_to(share, dtype))
        return (dtable + multiply(share, rows), doffset), multiply(columns, share).T

    blocks = _split_blocks((x, targets, log_norm, *slopes), size)
    zeros = jnp.zeros(embedding.shape, jnp.float32)
    totals = zeros, None if offset is None else jnp.zeros(offset.shape)
    (dtable, doffset), dx = lax.scan(pull_block, totals, blocks)
    dx = dx.reshape(-1, dx.shape[-1])[: len(x)]
    return dx.astype(like.dtype), dtable.astype(embedding.dtype), None, doffset


_score.defvjp(_score_fwd, _score_bwd)


def _split_blocks(arrays, size):
    """Returns arrays of tokens as [blocks size ...], padded with zeros."""

    def split(x):
        padding = [(0, -len(x) % size)] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, padding).reshape(-1, size, *x.shape[1:])

    return tuple(split(x) for x in arrays)
