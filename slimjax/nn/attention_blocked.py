"""Exact attention in memory linear in T: block by block, the gradient by recomputation.

Scores exist only as one tile of queries x keys at a time. The forward pass keeps a
running maximum and sum of each row; the backward pass recomputes each tile from the
stored log-sum-exp. Tiles that a causal mask or a window hides are never visited. The
backward pass works on transposed tiles (keys x queries), so that all its products find
their operands row by row; see `slimjax.nn.products` for why that matters.

References:
    Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
    Dao, "FlashAttention-2", 2023, section 3.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.nn.attention_reference import NEG_INF
from slimjax.nn.products import multiply


class _Marks(NamedTuple):
    """What the mask is made of beside indices: [B T] and [B S], or nothing."""

    query_positions: Array | None
    query_segments: Array | None
    key_segments: Array | None


@dataclasses.dataclass(frozen=True)
class _Tiling:
    """The static side of one call: the mask's kind, block sizes, the products' type."""

    causal: bool
    window: int | None
    num_keys: int
    block_queries: int
    block_keys: int
    dtype: jnp.dtype
    positioned: bool

    def key_blocks(self, i, num_blocks):
        """Returns the range of key blocks that query block `i` may see."""
        start, stop = 0, num_blocks
        if self.causal and not self.positioned:
            last = (i + 1) * self.block_queries - 1
            stop = jnp.minimum(last // self.block_keys + 1, num_blocks)
            if self.window is not None:
                first = i * self.block_queries - self.window + 1
                start = jnp.maximum(first, 0) // self.block_keys
        return start, stop


def attend_blocked(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    *,
    causal: bool = True,
    window: int | None = None,
    query_positions: Int[Array, "B T"] | None = None,
    query_segments: Int[Array, "B T"] | None = None,
    key_segments: Int[Array, "B S"] | None = None,
    dtype: DTypeLike = jnp.float32,
    block_queries: int = 256,
    block_keys: int = 256,
) -> Float[Array, "B T N H"]:
    """Returns what `attend_reference` returns, without a T x S matrix.

    Args:
        query: As in `slimjax.nn.attention_kernels.attend`, like all up to `dtype`.
        key: See there.
        value: See there.
        causal: See there.
        window: See there.
        query_positions: See there.
        query_segments: See there.
        key_segments: See there.
        dtype: See there.
        block_queries: Rows of a tile.
        block_keys: Columns of a tile.
    """
    num_queries, num_keys, head_dim = query.shape[1], key.shape[1], key.shape[3]
    tiling = _Tiling(
        causal=causal,
        window=window,
        num_keys=num_keys,
        block_queries=min(block_queries, _round_up(num_queries, 16)),
        block_keys=min(block_keys, _round_up(num_keys, 16)),
        dtype=jnp.dtype(dtype),
        positioned=query_positions is not None,
    )
    pad_queries = partial(_pad_axis, multiple=tiling.block_queries)
    pad_keys = partial(_pad_axis, multiple=tiling.block_keys)
    marks = _Marks(
        None if query_positions is None else pad_queries(query_positions, -1),
        None if query_segments is None else pad_queries(query_segments, -1),
        None if key_segments is None else pad_keys(key_segments, -1),
    )
    query = pad_queries(query, 1) * head_dim**-0.5
    query = query.reshape(*query.shape[:2], key.shape[2], -1, head_dim)
    query = query.astype(dtype).transpose(0, 2, 3, 1, 4)  # B K G T H
    key, value = (
        pad_keys(x, 1).astype(dtype).swapaxes(1, 2) for x in (key, value)
    )  # B K S H
    mixed = _attend(query, key, value, marks, tiling)
    mixed = mixed.transpose(0, 3, 1, 2, 4)  # B T K G H
    return mixed.reshape(*mixed.shape[:2], -1, head_dim)[:, :num_queries]


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(query, key, value, marks, tiling):
    return _attend_fwd(query, key, value, marks, tiling)[0]


def _attend_fwd(query, key, value, marks, tiling):
    forward = partial(_forward_example, tiling=tiling)
    mixed, lse = lax.map(lambda args: forward(*args), (query, key, value, marks))
    return mixed, (query, key, value, marks, mixed, lse)


def _attend_bwd(tiling, residuals, slope):
    query, key, value, marks, mixed, lse = residuals
    delta = jnp.sum(slope * mixed, -1)  # B K G T
    backward = partial(_backward_example, tiling=tiling)
    slopes = lax.map(
        lambda args: backward(*args),
        (query, key, value, marks, lse, delta, slope.astype(tiling.dtype)),
    )
    dq, dk, dv = (s.astype(tiling.dtype) for s in slopes)
    return dq, dk, dv, None


_attend.defvjp(_attend_fwd, _attend_bwd)


def _forward_example(query, key, value, marks, tiling):
    """Attends within one example: query [K G T H], key and value [K S H]."""
    num_kv_heads, num_groups, num_queries, head_dim = query.shape
    rows, columns = tiling.block_queries, tiling.block_keys
    num_key_blocks = key.shape[1] // columns

    def one_query_block(i):
        block = lax.dynamic_slice_in_dim(query, i * rows, rows, 2)
        block = block.reshape(num_kv_heads, num_groups * rows, head_dim)

        def one_tile(j, carry):
            top, total, mixed = carry
            keys = lax.dynamic_slice_in_dim(key, j * columns, columns, 1)
            values = lax.dynamic_slice_in_dim(value, j * columns, columns, 1)
            logits = multiply(block, keys, transpose_right=True)
            logits = _hide(logits, _mask_tile(marks, i, j, tiling))
            new_top = jnp.maximum(top, logits.max(-1))
            # A row that has seen nothing yet keeps weights of zero, not exp(0).
            safe_top = jnp.where(new_top > 0.5 * NEG_INF, new_top, 0.0)
            weights = jnp.exp(logits - safe_top[..., None]).astype(tiling.dtype)
            weights = lax.optimization_barrier(weights)  # Else exp is taken twice.
            fade = jnp.exp(top - safe_top)
            total = total * fade + weights.astype(jnp.float32).sum(-1)
            mixed = mixed * fade[..., None] + multiply(weights, values)
            return new_top, total, mixed

        shape = num_kv_heads, num_groups * rows
        carry = (
            jnp.full(shape, NEG_INF),
            jnp.zeros(shape),
            jnp.zeros((*shape, head_dim)),
        )
        span = tiling.key_blocks(i, num_key_blocks)
        top, total, mixed = lax.fori_loop(*span, one_tile, carry)
        seen = total > 0
        mixed = mixed / jnp.where(seen, total, 1.0)[..., None]
        lse = jnp.where(seen, top + jnp.log(jnp.where(seen, total, 1.0)), 0.0)
        shape = num_kv_heads, num_groups, rows
        return mixed.reshape(*shape, head_dim), lse.reshape(shape)

    mixed, lse = lax.map(one_query_block, jnp.arange(num_queries // rows))
    mixed = jnp.moveaxis(mixed, 0, 2).reshape(query.shape)
    return mixed, jnp.moveaxis(lse, 0, 2).reshape(query.shape[:3])


def _backward_example(query, key, value, marks, lse, delta, slope, tiling):
    """Returns the gradients of `_forward_example` with respect to its operands."""
    num_kv_heads, num_groups, num_queries, head_dim = query.shape
    rows, columns = tiling.block_queries, tiling.block_keys
    num_key_blocks = key.shape[1] // columns
    key_columns = lax.optimization_barrier(key.swapaxes(1, 2)[None]).reshape(
        num_kv_heads, head_dim, -1
    )

    def block_of(x, i):
        x = lax.dynamic_slice_in_dim(x, i * rows, rows, 2)
        return x.reshape(num_kv_heads, num_groups * rows, *x.shape[3:])

    def one_query_block(carry, i):
        block, block_slope = block_of(query, i), block_of(slope, i)
        block_lse = block_of(lse, i)[:, None]
        block_delta = block_of(delta, i)[:, None]

        def one_tile(j, carry):
            dq, dk, dv = carry
            keys = lax.dynamic_slice_in_dim(key, j * columns, columns, 1)
            values = lax.dynamic_slice_in_dim(value, j * columns, columns, 1)
            columns_of_keys = lax.dynamic_slice_in_dim(
                key_columns, j * columns, columns, 2
            )
            logits = multiply(keys, block, transpose_right=True)  # K S GT
            mask = _mask_tile(marks, i, j, tiling)
            logits = _hide(logits, None if mask is None else mask.T, transposed=True)
            weights = jnp.exp(logits - block_lse).astype(tiling.dtype)
            weights = lax.optimization_barrier(weights)  # Else exp is taken twice.
            dweights = multiply(values, block_slope, transpose_right=True)
            dlogits = weights.astype(jnp.float32) * (dweights - block_delta)
            dlogits = dlogits.astype(tiling.dtype)
            dq += multiply(columns_of_keys, dlogits)  # K H GT
            dk = _add_block(dk, multiply(dlogits, block), j * columns)
            dv = _add_block(dv, multiply(weights, block_slope), j * columns)
            return dq, dk, dv

        dq = jnp.zeros((num_kv_heads, head_dim, num_groups * rows))
        span = tiling.key_blocks(i, num_key_blocks)
        dq, dk, dv = lax.fori_loop(*span, one_tile, (dq, *carry))
        dq = dq.reshape(num_kv_heads, head_dim, num_groups, rows)
        return (dk, dv), dq.transpose(0, 2, 3, 1)

    zeros = jnp.zeros(key.shape)
    (dk, dv), dq = lax.scan(
        one_query_block, (zeros, zeros), jnp.arange(num_queries // rows)
    )
    return jnp.moveaxis(dq, 0, 2).reshape(query.shape), dk, dv


def _add_block(total, block, start):
    old = lax.dynamic_slice_in_dim(total, start, block.shape[1], 1)
    return lax.dynamic_update_slice_in_dim(total, old + block, start, 1)


def _mask_tile(marks, i, j, tiling):
    """Returns who sees whom in tile (`i`, `j`), [T S] of one block, or None: all."""
    rows, columns = tiling.block_queries, tiling.block_keys

    def cut(x, index, size):
        return lax.dynamic_slice_in_dim(x, index * size, size)

    keys = j * columns + jnp.arange(columns)
    conditions = []
    if tiling.causal:
        queries = i * rows + jnp.arange(rows)
        if marks.query_positions is not None:
            queries = cut(marks.query_positions, i, rows)
        conditions.append(keys <= queries[:, None])
        if tiling.window is not None:
            conditions.append(keys > queries[:, None] - tiling.window)
    if marks.query_segments is not None:
        of_queries = cut(marks.query_segments, i, rows)[:, None]
        of_keys = cut(marks.key_segments, j, columns)
        conditions += [of_queries == of_keys, of_queries > 0]
    if tiling.num_keys % columns and (tiling.positioned or not tiling.causal):
        conditions.append(jnp.broadcast_to(keys < tiling.num_keys, (rows, columns)))
    mask = None
    for condition in conditions:
        mask = condition if mask is None else mask & condition
    return mask


def _hide(logits, mask, *, transposed=False):
    """Replaces what the mask hides; the rows of all G query heads share one mask."""
    if mask is None:
        return logits
    num_kv_heads, height, width = logits.shape
    if transposed:
        tiles = logits.reshape(num_kv_heads, height, -1, mask.shape[1])
        mask = mask[:, None]
    else:
        tiles = logits.reshape(num_kv_heads, -1, mask.shape[0], width)
    return jnp.where(mask, tiles, NEG_INF).reshape(logits.shape)


def _round_up(size, multiple):
    return -(-size // multiple) * multiple


def _pad_axis(x, axis, multiple):
    padding = [(0, 0)] * x.ndim
    padding[axis] = (0, -x.shape[axis] % multiple)
    return jnp.pad(x, padding)
