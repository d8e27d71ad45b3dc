"""Cutting tiles out of the arrays of attention, and putting them back.

Letters of axes: rows B, positions T of queries and S of keys, N = K G heads, of which G
share a key head, H the width of a head. GT stands for the heads of a group with some of
the queries each.
"""

import jax.numpy as jnp
from jax import lax


def split_heads(x, num_kv_heads):
    """Maps [B T N H] -> [B K G T H]."""
    x = x.reshape(*x.shape[:2], num_kv_heads, -1, x.shape[-1])
    return x.transpose(0, 2, 3, 1, 4)


def merge_heads(x):
    """Maps [B K G T H] -> [B T N H]."""
    x = x.transpose(0, 3, 1, 2, 4)
    return x.reshape(*x.shape[:2], -1, x.shape[-1])


def cut(x, start, size, axis):
    """Returns `size` entries of an axis, from `start` on, which may be traced."""
    if isinstance(start, int):
        return lax.slice_in_dim(x, start, start + size, axis=axis)
    return lax.dynamic_slice_in_dim(x, start, size, axis)


def cut_block(x, start, size):
    """Maps [B K G T ...] -> [B K GT ...], with `size` of the T."""
    x = cut(x, start, size, 3)
    return x.reshape(*x.shape[:2], -1, *x.shape[4:])


def add_at(total, share, start):
    """Adds a tile's share [B K S H] to the gradient of keys or values."""
    old = lax.dynamic_slice_in_dim(total, start, share.shape[2], 2)
    return lax.dynamic_update_slice_in_dim(total, old + share, start, 2)


def add_mask(logits, hidden, *, transposed=False):
    """Adds what hides keys [#B T S] to all heads' logits, [B K GT S] or [B K S GT]."""
    if hidden is None:
        return logits
    if transposed:
        hidden = hidden.swapaxes(1, 2)[:, None, :, None]
        tiles = logits.reshape(*logits.shape[:3], -1, hidden.shape[-1])
    else:
        hidden = hidden[:, None, None]
        tiles = logits.reshape(*logits.shape[:2], -1, *hidden.shape[-2:])
    return (tiles + hidden).reshape(logits.shape)


def cut_bias(bias, start, first, width, tiling):
    """Maps [#B N T S] -> [#B N rows width]."""
    return cut(bias[:, :, start : start + tiling.rows], first, width, 3)


def rows_of(tile, logits):
    """Maps [#B N rows width] -> [#B K GT S], beside logits of that shape."""
    return tile.reshape(len(tile), *logits.shape[1:])


def columns_of(tile, logits):
    """Maps [#B N rows width] -> [#B K S GT], beside logits of that shape."""
    rows = tile.reshape(len(tile), logits.shape[1], -1, tile.shape[3])
    return rows.swapaxes(2, 3)


def put_bias(dbias, dlogits, start, first):
    """Writes a tile's slopes [B K S GT] into the gradient of the bias [#B N T S]."""
    tile = dlogits.swapaxes(2, 3)
    tile = tile.reshape(len(tile), dbias.shape[1], -1, tile.shape[3])
    tile = tile if len(dbias) > 1 else tile.sum(0, keepdims=True)
    return lax.dynamic_update_slice(dbias, tile, (0, 0, start, first))


def pad_axis(x, axis, multiple):
    """Returns `x` with zeros behind it along an axis, up to a multiple."""
    padding = [(0, 0)] * x.ndim
    padding[axis] = (0, -x.shape[axis] % multiple)
    return jnp.pad(x, padding) if padding[axis][1] else x
