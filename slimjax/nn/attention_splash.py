"""Attention by JAX's Pallas kernel for TPUs, in memory linear in T."""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.nn import platforms

LANES = 128  # Numbers side by side in a TPU's registers.
BLOCKS = (512, 256, LANES)


def attend_splash(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    *,
    causal: bool = True,
    window: int | None = None,
    query_segments: Int[Array, "B T"] | None = None,
    dtype: DTypeLike = jnp.float32,
    interpret: bool = False,
    **_: object,
) -> Float[Array, "B T N H"]:
    """Returns what `attend_reference` returns, rounded to `dtype` on its way out.

    The arguments are those of `slimjax.nn.attention_kernels.attend`, where `why_not`
    has nothing against them, and one more. On a mesh each device takes its own rows of
    the batch: XLA does not know how to cut the kernel.

    Args:
        query: See there.
        key: See there.
        value: See there.
        causal: See there.
        window: See there.
        query_segments: See there; the keys have the same ones.
        dtype: See there.
        interpret: Whether to run the kernel's steps one by one, on any platform.

    References:
        Dao, "FlashAttention-2", 2023, section 3 (the algorithm).
    """
    query = query.astype(jnp.float32) * query.shape[-1] ** -0.5
    operands = tuple(x.astype(dtype).swapaxes(1, 2) for x in (query, key, value))
    if query_segments is not None:
        operands += (query_segments,)
    run = partial(_attend, causal=causal, window=window, interpret=interpret)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size > 1:
        rows = P(mesh.axis_names)
        # The kernel's outputs do not say how they vary over the mesh.
        run = jax.shard_map(run, in_specs=rows, out_specs=rows, check_vma=False)
    mixed = cast(Array, run(*operands)).swapaxes(1, 2).astype(jnp.float32)
    if query_segments is not None:
        mixed *= (query_segments > 0)[..., None, None]
    return mixed


def _attend(query, key, value, segments=None, *, causal, window, interpret):
    """Returns mixed values [B N T H] of scaled queries [B N T H], keys [B K S H]."""
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as kernel,
    )
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_mask as masks,
    )

    shape = query.shape[2], key.shape[2]
    if window is not None:
        mask = masks.LocalMask(shape, (window - 1, 0), 0)
    else:
        mask = masks.CausalMask(shape) if causal else masks.FullMask(shape)
    rows, columns = (next(b for b in BLOCKS if size % b == 0) for size in shape)
    blocks = kernel.BlockSizes(
        *(rows, columns, columns),
        *(rows, columns, columns),
        *(rows, columns),
    )
    attend = kernel.make_splash_mha(
        masks.MultiHeadMask([mask] * query.shape[1]),
        block_sizes=blocks,
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    if segments is None:
        return jax.vmap(attend)(query, key, value)
    return jax.vmap(attend)(query, key, value, kernel.SegmentIds(segments, segments))


def why_not(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    *,
    causal: bool,
    query_positions: Int[Array, "B T"] | None,
    query_segments: Int[Array, "B T"] | None,
    key_segments: Int[Array, "B S"] | None,
    **_: object,
) -> str:
    """Returns what this kernel wants and does not get, or nothing."""
    platform, mesh = platforms.target_platform(), jax.sharding.get_abstract_mesh()
    (batch_size, num_queries), num_keys = query.shape[:2], key.shape[1]
    if platform != "tpu":
        return f"wants a TPU, and this program is for a {platform}"
    if mesh.empty and jax.device_count() > 1:
        return "wants jax.set_mesh where there are several devices"
    if batch_size % max(mesh.size, 1):
        return f"wants a batch that {mesh.size} devices can share, not {batch_size}"
    if num_queries % LANES or num_keys % LANES:
        return f"wants lengths that are multiples of {LANES}, not {num_queries}"
    if query.shape[-1] % 8:
        return f"wants a head_dim that is a multiple of 8, not {query.shape[-1]}"
    if query_positions is not None or query_segments is not key_segments:
        return "takes no positions of queries, and no segments but those of the keys"
    if causal and num_queries != num_keys:
        return "wants as many queries as keys under a causal mask"
    return ""
