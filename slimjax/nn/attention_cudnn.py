"""Attention by cuDNN's fused kernel, on GPUs of NVIDIA, in memory linear in T."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from slimjax.nn import platforms
from slimjax.nn.attention_mask import Mask

MAX_HEAD_DIM = 128
"""Widest head that the kernel takes on all GPUs; Hopper's takes twice that."""


def attend_cudnn(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    mask: Mask | None = None,
    *,
    scale: float | None = None,
    dtype: DTypeLike = jnp.bfloat16,
    **_: None,
) -> Float[Array, "B T N H"]:
    """Returns what `attend_reference` returns, rounded to `dtype` on its way out.

    The arguments are those of `attend_reference`, where `why_not` has no reason against
    them.

    References:
        Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning", 2014.
        Dao, "FlashAttention-2", 2023, section 3 (the algorithm).
    """
    mask = mask or Mask()
    query, key, value = (x.astype(dtype) for x in (query, key, value))
    mixed = jax.nn.dot_product_attention(
        *(query, key, value),
        scale=scale,
        is_causal=mask.causal,
        local_window_size=None if mask.window is None else (mask.window - 1, 0),
        implementation="cudnn",
    )
    return mixed.astype(jnp.float32)


def why_not(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    mask: Mask,
    *,
    bias: object = None,
    drop: object = None,
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
    if bias is not None or drop is not None:
        return "takes no relative positions and no dropout of attention weights"
    if mask.query_positions is not None or mask.query_segments is not None:
        return "takes no segments, no padding, and no positions of queries"
    if mask.window is not None and not mask.causal:
        return "takes a window only under a causal mask"
    if mask.causal and query.shape[1] != key.shape[1]:
        return "wants as many queries as keys under a causal mask"
    return ""


def is_recent(device: Any) -> bool:
    """Whether a device is a GPU that has the kernel; AMD's are numbered otherwise."""
    capability = str(getattr(device, "compute_capability", ""))
    return capability[:1].isdigit() and float(capability) >= 8.0
