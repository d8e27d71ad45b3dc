"""Exact attention in memory linear in T: tile by tile, the gradient by recomputation.

Scores exist only as one tile of queries x keys at a time. The forward pass keeps a
running maximum and sum of each row; the backward pass recomputes each tile from the
stored log-sum-exp. What a causal mask or a window hides altogether is never visited.
The backward pass works on transposed tiles (keys x queries), so that all its products
find their operands row by row; see `slimjax.nn.products` for why that matters.

References:
    Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
    Dao, "FlashAttention-2", 2023, section 3.
"""

from collections.abc import Callable
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.nn.attention_reference import NEG_INF
from slimjax.nn.attention_tiles import Marks, Tiling, round_up
from slimjax.nn.products import lay_in_rows, multiply, round_to

MIN_ROWS = 128  # Fewer rows of a tile leave the matrix unit idle.
MAX_BLOCKS = 8  # Blocks of queries; each adds to the program and its compile time.
TILE_NUMBERS = 2**21  # Numbers in one tile over all heads: 8 MiB in float32.


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
    rows: int | None = None,
    columns: int | None = None,
) -> Float[Array, "B T N H"]:
    """Returns what `attend_reference` returns, without a T x S matrix.

    The arguments are those of `slimjax.nn.attention_kernels.attend`, and two more.

    Args:
        query: See there.
        key: See there.
        value: See there.
        causal: See there.
        window: See there.
        query_positions: See there.
        query_segments: See there.
        key_segments: See there.
        dtype: See there.
        rows: Queries of a tile; by default what suits the shape.
        columns: Keys of a tile, likewise.
    """
    batch_size, num_queries, num_heads, _ = query.shape
    num_keys = key.shape[1]
    if rows is None:
        rows = max(MIN_ROWS, round_up(-(-num_queries // MAX_BLOCKS), 128))
    rows = min(rows, round_up(num_queries, 16))
    if columns is None:
        columns = TILE_NUMBERS // (batch_size * num_heads * rows)
        columns = max(columns // 128 * 128, 256)
    pad_queries = partial(_pad_axis, axis=1, multiple=rows)
    pad_keys = partial(_pad_axis, axis=1, multiple=16)
    marks = Marks(
        None if query_positions is None else pad_queries(query_positions),
        None if query_segments is None else pad_queries(query_segments),
        None if key_segments is None else pad_keys(key_segments),
    )
    tiling = Tiling(
        causal=causal,
        window=window,
        num_queries=round_up(num_queries, rows),
        num_keys=num_keys,
        rows=rows,
        columns=round_up(columns, 16),
        dtype=jnp.dtype(dtype),
    )
    mixed = cast(
        Array,
        _attend(pad_queries(query), pad_keys(key), pad_keys(value), marks, tiling),
    )
    return mixed[:, :num_queries]


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(query, key, value, marks, tiling) -> Array:
    return _attend_fwd(query, key, value, marks, tiling)[0]


def _attend_fwd(query, key, value, marks, tiling):
    num_kv_heads, head_dim = key.shape[2:]
    likes = tuple(jnp.zeros((), x.dtype) for x in (query, key, value))
    query = query.astype(jnp.float32) * head_dim**-0.5
    query = round_to(_split_heads(query, num_kv_heads), tiling.dtype)
    key, value = (round_to(x.swapaxes(1, 2), tiling.dtype) for x in (key, value))
    starts = range(0, tiling.num_queries, tiling.rows)
    blocks, zero = [], 0
    for start in starts:
        blocks.append(_mix_block(query, key, value, marks, start, zero, tiling))
        zero = _zero_after(blocks[-1][1])
    mixed = _merge_heads(jnp.concatenate([mixed for mixed, _ in blocks], 3))
    lse = jnp.concatenate([lse for _, lse in blocks], 3)
    return mixed, (query, key, value, marks, mixed, lse, likes)


def _attend_bwd(tiling, residuals, slope):
    query, key, value, marks, mixed, lse, likes = residuals
    num_kv_heads, head_dim = key.shape[1], key.shape[3]
    slope = round_to(slope, tiling.dtype)
    # Of the rounded slope, as the products take it, so that rounding cancels below.
    delta = jnp.sum(slope.astype(jnp.float32) * mixed, -1, keepdims=True)
    delta = _split_heads(delta, num_kv_heads)[..., 0]
    slope = _split_heads(slope, num_kv_heads)
    key_columns = lay_in_rows(key.swapaxes(2, 3))  # B K H S
    operands = query, slope, lse, delta, key, key_columns, value
    dkey = dvalue = jnp.zeros(key.shape, jnp.float32)
    dqueries, zero = [], 0
    for start in range(0, tiling.num_queries, tiling.rows):
        dquery, dkey, dvalue = _pull_block(
            operands, dkey, dvalue, marks, start, zero, tiling
        )
        dqueries.append(dquery)
        zero = _zero_after(dquery)
    dquery = _merge_heads(jnp.concatenate(dqueries, 3)) * head_dim**-0.5
    slopes = dquery, dkey.swapaxes(1, 2), dvalue.swapaxes(1, 2)
    return *(s.astype(like.dtype) for s, like in zip(slopes, likes, strict=True)), None


_attend.defvjp(_attend_fwd, _attend_bwd)


def _mix_block(query, key, value, marks, start, zero, tiling):
    """Returns mixed values [B K G rows H] of one query block, and lse [B K G rows]."""
    block = _cut_block(query, start + zero, tiling.rows)  # B K GT H

    def add_tile(carry, first, width, last):
        keys, values = (_cut(x, first, width, 2) for x in (key, value))
        logits = multiply(block, keys, transpose_right=True)  # B K GT S
        logits = _add_bias(logits, tiling.hide(marks, start, first, width, last=last))
        top = logits.max(-1)
        if carry is not None:
            top = jnp.maximum(top, carry[0])
        # A row that has seen nothing yet keeps weights of zero, not exp(0).
        base = jnp.where(top > 0.5 * NEG_INF, top, 0.0)
        weights = round_to(jnp.exp(logits - base[..., None]), tiling.dtype)
        weights = lax.optimization_barrier(weights)  # Else exp is taken twice.
        total = weights.astype(jnp.float32).sum(-1)
        mixed = multiply(weights, values)
        if carry is not None:
            fade = jnp.exp(carry[0] - base)
            total += carry[1] * fade
            mixed += carry[2] * fade[..., None]
        return top, total, mixed

    shape = block.shape[:3]
    carry = jnp.full(shape, NEG_INF), jnp.zeros(shape), jnp.zeros(block.shape)
    top, total, mixed = _walk_tiles(add_tile, carry, marks, start, tiling)
    seen = total > 0
    total = jnp.where(seen, total, 1.0)
    lse = jnp.where(seen, top + jnp.log(total), 0.0)
    shape = *query.shape[:3], tiling.rows
    return (mixed / total[..., None]).reshape(*shape, -1), lse.reshape(shape)


def _pull_block(operands, dkey, dvalue, marks, start, zero, tiling):
    """Returns dquery [B K G rows H] of one block, and dkey, dvalue with its share."""
    query, slope, lse, delta, key, key_columns, value = operands
    cut = partial(_cut_block, start=start + zero, size=tiling.rows)
    block, block_slope = cut(query), cut(slope)
    block_lse, block_delta = (cut(x)[:, :, None] for x in (lse, delta))  # B K 1 GT

    def add_tile(carry, first, width, last):
        dquery, dkey, dvalue = carry
        keys, values = (_cut(x, first, width, 2) for x in (key, value))
        logits = multiply(keys, block, transpose_right=True)  # B K S GT
        bias = tiling.hide(marks, start, first, width, last=last)
        logits = _add_bias(logits, bias, transposed=True)
        weights = round_to(jnp.exp(logits - block_lse), tiling.dtype)
        weights = lax.optimization_barrier(weights)  # Else exp is taken twice.
        dweights = multiply(values, block_slope, transpose_right=True)
        dlogits = weights.astype(jnp.float32) * (dweights - block_delta)
        dlogits = lax.optimization_barrier(round_to(dlogits, tiling.dtype))
        dquery += multiply(_cut(key_columns, first, width, 3), dlogits)  # B K H GT
        dkey = _add_at(dkey, multiply(dlogits, block), first)
        dvalue = _add_at(dvalue, multiply(weights, block_slope), first)
        return dquery, dkey, dvalue

    dquery = jnp.zeros(block.swapaxes(2, 3).shape)
    carry = dquery, dkey, dvalue
    dquery, dkey, dvalue = _walk_tiles(add_tile, carry, marks, start, tiling)
    dquery = dquery.swapaxes(2, 3).reshape(*query.shape[:3], tiling.rows, -1)
    return dquery, dkey, dvalue


def _walk_tiles(add_tile: Callable, carry, marks: Marks, start: int, tiling: Tiling):
    """Folds `add_tile` over the tiles that the query block at `start` may see."""
    first, num_full, end = tiling.split_keys(start, marks)
    width = tiling.columns

    def add_full_tile(i, carry):
        return add_tile(carry, first + i * width, width, last=False)

    if num_full:
        carry = lax.fori_loop(0, num_full, add_full_tile, carry)
    begin = first + num_full * width
    return add_tile(carry, begin, end - begin, last=True)


def _zero_after(x):
    """Returns 0, but only once `x` is there.

    Added to where the next block starts, it keeps the compiler from running all
    blocks side by side, which would take the memory of the whole matrix.
    """
    number = x.reshape(-1)[0]
    return ((number > 0) & (number < 0)).astype(jnp.int32)


def _split_heads(x, num_kv_heads):
    """[B T N H] -> [B K G T H]."""
    x = x.reshape(*x.shape[:2], num_kv_heads, -1, x.shape[-1])
    return x.transpose(0, 2, 3, 1, 4)


def _merge_heads(x):
    """[B K G T H] -> [B T N H]."""
    x = x.transpose(0, 3, 1, 2, 4)
    return x.reshape(*x.shape[:2], -1, x.shape[-1])


def _cut(x, start, size, axis):
    if isinstance(start, int):
        return lax.slice_in_dim(x, start, start + size, axis=axis)
    return lax.dynamic_slice_in_dim(x, start, size, axis)


def _cut_block(x, start, size):
    """[B K G T ...] -> [B K GT ...], with `size` of the T."""
    x = _cut(x, start, size, 3)
    return x.reshape(*x.shape[:2], -1, *x.shape[4:])


def _add_at(total, share, start):
    old = lax.dynamic_slice_in_dim(total, start, share.shape[2], 2)
    return lax.dynamic_update_slice_in_dim(total, old + share, start, 2)


def _add_bias(logits, bias, *, transposed=False):
    """Adds a bias [#B T S] to all heads' logits, [B K GT S] or [B K S GT]."""
    if bias is None:
        return logits
    if transposed:
        bias = bias.swapaxes(1, 2)[:, None, :, None]
        tiles = logits.reshape(*logits.shape[:3], -1, bias.shape[-1])
    else:
        bias = bias[:, None, None]
        tiles = logits.reshape(*logits.shape[:2], -1, *bias.shape[-2:])
    return (tiles + bias).reshape(logits.shape)


def _pad_axis(x, axis, multiple):
    padding = [(0, 0)] * x.ndim
    padding[axis] = (0, -x.shape[axis] % multiple)
    return jnp.pad(x, padding) if padding[axis][1] else x
