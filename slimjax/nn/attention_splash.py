"""Attention by JAX's Pallas kernel for TPUs, in memory linear in T."""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float

from slimjax.nn import platforms
from slimjax.nn.attention_mask import Mask
from slimjax.nn.attention_mesh import Stretch

LANES = 128  # Numbers side by side in a TPU's registers.
BLOCKS = (512, 256, LANES)


def attend_splash(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    mask: Mask | None = None,
    *,
    scale: float | None = None,
    stretch: Stretch | None = None,
    dtype: DTypeLike = jnp.float32,
    interpret: bool = False,
    **_: object,
) -> Float[Array, "B T N H"]:
    """Returns what `attend_reference` returns, rounded to `dtype` on its way out.

    The arguments are those of `attend_reference`, where `why_not` has no reason against
    them, and two more.

    Args:
        query: See there.
        key: See there.
        value: See there.
        mask: See there; segments of the queries are those of the keys, or a stretch of
            them.
        scale: See there.
        stretch: Which positions of the keys the queries stand at; by default, all.
        dtype: See there.
        interpret: Whether to run the kernel's steps one by one, on any platform.

    References:
        Dao, "FlashAttention-2", 2023, section 3 (the algorithm).
    """
    mask = mask or Mask()
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    query = query.astype(jnp.float32) * factor
    query, key, value = (x.astype(dtype).swapaxes(1, 2) for x in (query, key, value))
    segments = None
    if mask.query_segments is not None:
        segments = mask.query_segments, mask.key_segments
    stretch = stretch if mask.needs_positions else None  # Else all are alike.
    options = dict(causal=mask.causal, window=mask.window, interpret=interpret)
    mixed = _attend(query, key, value, segments, stretch, **options)
    mixed = cast(Array, mixed).swapaxes(1, 2).astype(jnp.float32)
    if mask.query_segments is not None:
        mixed *= (mask.query_segments > 0)[..., None, None]
    return mixed


def _attend(query, key, value, segments, stretch, *, causal, window, interpret):
    """Returns mixed values [B N T H] of scaled queries [B N T H], keys [B K S H].

    The kernel reads from tables which blocks of the mask to visit. They are made for
    all queries of a row, and each stretch takes its own part of them.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as kernel,
    )
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_mask as masks,
    )

    (_, num_heads, length, _), num_keys = query.shape, key.shape[2]
    count = 1 if stretch is None else stretch.num_parts
    shape = length * count, num_keys
    if window is not None:
        mask = masks.LocalMask(shape, (window - 1, 0 if causal else window - 1), 0)
    else:
        mask = masks.CausalMask(shape) if causal else masks.FullMask(shape)
    rows, columns = (next(b for b in BLOCKS if n % b == 0) for n in (length, num_keys))
    attend = kernel.make_splash_mha(
        masks.MultiHeadMask([mask] * num_heads),
        block_sizes=kernel.BlockSizes(
            *(rows, columns, columns),
            *(rows, columns, columns),
            *(rows, columns),
        ),
        head_shards=1,
        q_seq_shards=count,
        interpret=interpret,
    )
    if stretch is not None:
        attend = jax.tree.map(partial(_own_part, stretch), attend)
    ids = None if segments is None else kernel.SegmentIds(*segments)
    return jax.vmap(attend)(query, key, value, ids)


def _own_part(stretch, table):
    """Returns a stretch's part of a table, [queries] or [heads queries keys]."""
    axis = min(table.ndim - 1, 1)
    size = table.shape[axis] // stretch.num_parts
    return lax.dynamic_slice_in_dim(table, stretch.part * size, size, axis)


def why_not(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    mask: Mask,
    *,
    bias: object = None,
    drop: object = None,
    stretch: Stretch | None = None,
    **_: object,
) -> str:
    """Returns what this kernel wants and does not get, or nothing."""
    platform, mesh = platforms.target_platform(), jax.sharding.get_abstract_mesh()
    num_queries, num_keys = query.shape[1], key.shape[1]
    if platform != "tpu":
        return f"wants a TPU, and this program is for a {platform}"
    if mesh.empty and jax.device_count() > 1:
        return "wants jax.set_mesh where there are several devices"
    if num_queries % LANES or num_keys % LANES:
        return f"wants lengths that are multiples of {LANES}, not {num_queries}"
    if query.shape[-1] % 8:
        return f"wants a head_dim that is a multiple of 8, not {query.shape[-1]}"
    if bias is not None or drop is not None:
        return "takes no relative positions and no dropout of attention weights"
    if stretch is not None:
        return ""
    alike = mask.query_segments is mask.key_segments
    if mask.query_positions is not None or not alike:
        return "takes no positions of queries, and no segments but those of the keys"
    if mask.needs_positions and num_queries != num_keys:
        return "wants as many queries as keys under a causal mask or a window"
    return ""
