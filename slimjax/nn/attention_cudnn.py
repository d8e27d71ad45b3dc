"""Attention by cuDNN's fused kernel, on GPUs of NVIDIA, in memory linear in T."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.nn import platforms

MAX_HEAD_DIM = 128
"""Widest head that the kernel takes on all GPUs; Hopper's takes twice that."""


def attend_cudnn(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    *,
    causal: bool = True,
    window: int | None = None,
    dtype: DTypeLike = jnp.bfloat16,
    **_: None,
) -> Float[Array, "B T N H"]:
    """Returns what `attend_reference` returns, rounded to `dtype` on its way out.

    The arguments are those of `slimjax.nn.attention_kernels.attend`, where `why_not`
    has nothing against them.

    References:
        Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning", 2014.
        Dao, "FlashAttention-2", 2023, section 3 (the algorithm).
    """
    query, key, value = (x.astype(dtype) for x in (query, key, value))
    mixed = jax.nn.dot_product_attention(
        *(query, key, value),
        is_causal=causal,
        local_window_size=None if window is None else (window - 1, 0),
        implementation="cudnn",
    )
    return mixed.astype(jnp.float32)


def why_not(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    *,
    causal: bool,
    query_positions: Int[Array, "B T"] | None,
    query_segments: Int[Array, "B T"] | None,
    dtype: DTypeLike,
    **_: object,
) -> str:
    """Returns what this kernel wants and does not get, or nothing."""
    platform, head_dim = platforms.target_platform(), query.shape[-1]
    if platform != "gpu":
        return f"wants a GPU, and this program is for a {platform}"
    if not is_recent(jax.devices()[0]):
        return "wants a GPU of NVIDIA of compute capability 8.0 or more"
    if jnp.dtype(dtype) not in (jnp.bfloat16, jnp.float16):
        return f"wants config.model.dtype='bfloat16', not '{jnp.dtype(dtype)}'"
    if head_dim % 8 or head_dim > MAX_HEAD_DIM:
        return (
            f"wants a head_dim that is a multiple of 8, at most {MAX_HEAD_DIM}, "
            f"not {head_dim}"
        )
    if query_positions is not None or query_segments is not None:
        return "takes no segments, and no positions of queries"
    if causal and query.shape[1] != key.shape[1]:
        return "wants as many queries as keys under a causal mask"
    return ""


def is_recent(device: Any) -> bool:
    """Whether a device is a GPU that has the kernel; AMD's are numbered otherwise."""
    capability = str(getattr(device, "compute_capability", ""))
    return capability[:1].isdigit() and float(capability) >= 8.0
