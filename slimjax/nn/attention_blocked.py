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

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float

from slimjax.nn.attention_cuts import (
    add_at,
    add_mask,
    columns_of,
    cut,
    cut_bias,
    cut_block,
    merge_heads,
    pad_axis,
    put_bias,
    rows_of,
    split_heads,
)
from slimjax.nn.attention_dropout import Drop
from slimjax.nn.attention_mask import Mask
from slimjax.nn.attention_reference import NEG_INF
from slimjax.nn.attention_tiles import Tiling, round_up
from slimjax.nn.products import lay_in_rows, multiply, round_to

MIN_ROWS = 128  # Fewer rows of a tile leave the matrix unit idle.
MAX_BLOCKS = 8  # Blocks of queries; each adds to the program and its compile time.
TILE_NUMBERS = 2**21  # Numbers in one tile over all heads: 8 MiB in float32.


def attend_blocked(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    mask: Mask | None = None,
    *,
    scale: float | None = None,
    bias: Float[Array, "#B N T S"] | None = None,
    drop: Drop | None = None,
    dtype: DTypeLike = jnp.float32,
    rows: int | None = None,
    columns: int | None = None,
) -> Float[Array, "B T N H"]:
    """Returns what `attend_reference` returns, without a T x S matrix of its own.

    The arguments are those of `attend_reference`, and two more. A bias is such a matrix
    itself, and its gradient another.

    Args:
        query: See there.
        key: See there.
        value: See there.
        mask: See there.
        scale: See there.
        bias: See there.
        drop: See there.
        dtype: See there.
        rows: Queries of a tile; by default what suits the shape.
        columns: Keys of a tile, likewise.
    """
    batch_size, num_queries, num_heads, head_dim = query.shape
    num_keys = key.shape[1]
    if rows is None:
        rows = max(MIN_ROWS, round_up(-(-num_queries // MAX_BLOCKS), 128))
    rows = min(rows, round_up(num_queries, 16))
    if columns is None:
        columns = TILE_NUMBERS // (batch_size * num_heads * rows)
        columns = max(columns // 128 * 128, 256)
    tiling = Tiling(
        num_queries=round_up(num_queries, rows),
        num_keys=num_keys,
        rows=rows,
        columns=round_up(columns, 16),
        scale=head_dim**-0.5 if scale is None else scale,
        dtype=jnp.dtype(dtype),
    )
    operands = _pad_all(query, key, value, mask or Mask(), bias, drop, rows)
    return cast(Array, _attend(*operands, tiling))[:, :num_queries]


def _pad_all(query, key, value, mask, bias, drop, rows):
    """Returns all arrays with whole tiles of queries, and keys up to 16 n."""
    queries = lambda x, axis=1: None if x is None else pad_axis(x, axis, rows)
    keys = lambda x, axis=1: None if x is None else pad_axis(x, axis, 16)
    mask = dataclasses.replace(
        mask,
        query_positions=queries(mask.query_positions),
        query_segments=queries(mask.query_segments),
        key_segments=keys(mask.key_segments),
    )
    bias = keys(queries(bias, 2), 3)
    drop = (
        None
        if drop is None
        else dataclasses.replace(drop, places=queries(drop.places, 0))
    )
    return queries(query), keys(key), keys(value), mask, bias, drop


@partial(jax.custom_vjp, nondiff_argnums=(6,))
def _attend(query, key, value, mask, bias, drop, tiling) -> Array:
    return _attend_fwd(query, key, value, mask, bias, drop, tiling)[0]


def _attend_fwd(query, key, value, mask, bias, drop, tiling):
    num_kv_heads = key.shape[2]
    likes = tuple(jnp.zeros((), x.dtype) for x in (query, key, value))
    query = query.astype(jnp.float32) * tiling.scale
    query = round_to(split_heads(query, num_kv_heads), tiling.dtype)
    key, value = (round_to(x.swapaxes(1, 2), tiling.dtype) for x in (key, value))
    blocks, zero, more = [], 0, (mask, bias, drop)
    for start in range(0, tiling.num_queries, tiling.rows):
        blocks.append(_mix_block(query, key, value, more, start, zero, tiling))
        zero = _zero_after(blocks[-1][1])
    mixed = merge_heads(jnp.concatenate([mixed for mixed, _ in blocks], 3))
    lse = jnp.concatenate([lse for _, lse in blocks], 3)
    return mixed, (query, key, value, more, mixed, lse, likes)


def _attend_bwd(tiling, residuals, slope):
    query, key, value, more, mixed, lse, likes = residuals
    num_kv_heads = key.shape[1]
    slope = round_to(slope, tiling.dtype)
    # Of the rounded slope, as the products take it, so that rounding cancels below.
    delta = jnp.sum(slope.astype(jnp.float32) * mixed, -1, keepdims=True)
    delta = split_heads(delta, num_kv_heads)[..., 0]
    slope = split_heads(slope, num_kv_heads)
    key_columns = lay_in_rows(key.swapaxes(2, 3))  # B K H S
    operands = query, slope, lse, delta, key, key_columns, value
    dkey = dvalue = jnp.zeros(key.shape, jnp.float32)
    dbias = None if more[1] is None else jnp.zeros(more[1].shape, jnp.float32)
    dqueries, zero, totals = [], 0, (dkey, dvalue, dbias)
    for start in range(0, tiling.num_queries, tiling.rows):
        dquery, totals = _pull_block(operands, totals, more, start, zero, tiling)
        dqueries.append(dquery)
        zero = _zero_after(dquery)
    dquery = merge_heads(jnp.concatenate(dqueries, 3)) * tiling.scale
    dkey, dvalue, dbias = totals
    slopes = dquery, dkey.swapaxes(1, 2), dvalue.swapaxes(1, 2)
    slopes = (s.astype(like.dtype) for s, like in zip(slopes, likes, strict=True))
    return *slopes, None, dbias, None


_attend.defvjp(_attend_fwd, _attend_bwd)


def _mix_block(query, key, value, more, start, zero, tiling):
    """Returns mixed values [B K G rows H] of one query block, and lse [B K G rows]."""
    block = cut_block(query, start + zero, tiling.rows)  # B K GT H
    mask, bias, drop = more

    def add_tile(carry, first, width, last):
        keys, values = (cut(x, first, width, 2) for x in (key, value))
        logits = multiply(block, keys, transpose_right=True)  # B K GT S
        if bias is not None:
            logits += rows_of(cut_bias(bias, start, first, width, tiling), logits)
        logits = add_mask(logits, tiling.hide(mask, start, first, width, last=last))
        top = logits.max(-1)
        if carry is not None:
            top = jnp.maximum(top, carry[0])
        # A row that has seen nothing yet keeps weights of zero, not exp(0).
        base = jnp.where(top > 0.5 * NEG_INF, top, 0.0)
        weights = round_to(jnp.exp(logits - base[..., None]), tiling.dtype)
        weights = lax.optimization_barrier(weights)  # Else exp is taken twice.
        total = weights.astype(jnp.float32).sum(-1)
        if drop is not None:
            factors = rows_of(drop.factors(start, tiling.rows, first, width), logits)
            weights = round_to(weights.astype(jnp.float32) * factors, tiling.dtype)
        mixed = multiply(weights, values)
        if carry is not None:
            fade = jnp.exp(carry[0] - base)
            total += carry[1] * fade
            mixed += carry[2] * fade[..., None]
        return top, total, mixed

    shape = block.shape[:3]
    carry = jnp.full(shape, NEG_INF), jnp.zeros(shape), jnp.zeros(block.shape)
    top, total, mixed = _walk_tiles(add_tile, carry, mask, start, tiling)
    seen = total > 0
    total = jnp.where(seen, total, 1.0)
    lse = jnp.where(seen, top + jnp.log(total), 0.0)
    shape = *query.shape[:3], tiling.rows
    return (mixed / total[..., None]).reshape(*shape, -1), lse.reshape(shape)


def _pull_block(operands, totals, more, start, zero, tiling):
    """Returns dquery [B K G rows H] of one block, and `totals` with its share.

    These are the gradients of keys, of values and of the bias.
    """
    query, slope, lse, delta, key, key_columns, value = operands
    mask, bias, drop = more
    of_block = partial(cut_block, start=start + zero, size=tiling.rows)
    block, block_slope = of_block(query), of_block(slope)
    block_lse, block_delta = (of_block(x)[:, :, None] for x in (lse, delta))  # B K 1 GT

    def add_tile(carry, first, width, last):
        dquery, dkey, dvalue, dbias = carry
        keys, values = (cut(x, first, width, 2) for x in (key, value))
        logits = multiply(keys, block, transpose_right=True)  # B K S GT
        if bias is not None:
            logits += columns_of(cut_bias(bias, start, first, width, tiling), logits)
        hidden = tiling.hide(mask, start, first, width, last=last)
        logits = add_mask(logits, hidden, transposed=True)
        weights = round_to(jnp.exp(logits - block_lse), tiling.dtype)
        weights = lax.optimization_barrier(weights)  # Else exp is taken twice.
        dweights = multiply(values, block_slope, transpose_right=True)
        kept = weights
        if drop is not None:
            factors = drop.factors(start, tiling.rows, first, width)
            factors = columns_of(factors, logits)
            dweights *= factors
            kept = round_to(weights.astype(jnp.float32) * factors, tiling.dtype)
        dlogits = weights.astype(jnp.float32) * (dweights - block_delta)
        if bias is not None:
            dbias = put_bias(dbias, dlogits, start, first)
        dlogits = lax.optimization_barrier(round_to(dlogits, tiling.dtype))
        dquery += multiply(cut(key_columns, first, width, 3), dlogits)  # B K H GT
        dkey = add_at(dkey, multiply(dlogits, block), first)
        dvalue = add_at(dvalue, multiply(kept, block_slope), first)
        return dquery, dkey, dvalue, dbias

    dquery = jnp.zeros(block.swapaxes(2, 3).shape)
    carry = dquery, *totals
    dquery, *totals = _walk_tiles(add_tile, carry, mask, start, tiling)
    dquery = dquery.swapaxes(2, 3).reshape(*query.shape[:3], tiling.rows, -1)
    return dquery, tuple(totals)


def _walk_tiles(add_tile: Callable, carry, mask: Mask, start: int, tiling: Tiling):
    """Folds `add_tile` over the tiles that the query block at `start` may see."""
    first, num_full, end = tiling.split_keys(start, mask)
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
