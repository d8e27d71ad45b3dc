"""Attention by the kernels of `slimjax.native`, in memory linear in T."""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.native import calls, library
from slimjax.nn import platforms
from slimjax.nn.attention_mask import Mask
from slimjax.nn.positions import Rotation


def attend_native(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    mask: Mask | None = None,
    *,
    scale: float | None = None,
    rotation: Rotation | None = None,
    dtype: DTypeLike = jnp.float32,
    **_: None,
) -> Float[Array, "B T N H"]:
    """Returns what `attend_reference` returns, where `why_not` has no objection.

    The kernel gets a mask as the stretch of keys that each query sees, and segments
    within it. With `rotation`, as `slimjax.nn.positions.rotation_table` makes it,
    queries and keys are turned on their way in.
    """
    mask = mask or Mask()
    segmented = mask.query_segments is not None
    nothing = jnp.zeros((1, 1), jnp.int32)
    operands = tuple(x.astype(jnp.float32) for x in (query, key, value))
    operands += tuple(
        jnp.broadcast_to(x, query.shape[:2]).astype(jnp.int32)
        for x in _stretches(mask, query.shape[1], key.shape[1])
    )
    segments = mask.query_segments, mask.key_segments
    operands += segments if segmented else (nothing, nothing)
    if rotation is None:
        operands += (jnp.zeros((1, 1, 1)),) * 2
    else:
        operands += tuple(x.squeeze(2) for x in rotation)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    options = segmented, rotation is not None, scale, jnp.dtype(dtype)
    return cast(Array, _attend(operands, options))


def _stretches(
    mask: Mask, num_queries: int, num_keys: int
) -> tuple[Int[Array, "#B #T"], Int[Array, "#B #T"]]:
    """Returns the first key that each query may see, and the first after the last."""
    positions = mask.query_positions
    positions = jnp.arange(num_queries)[None] if positions is None else positions
    begin, end = jnp.zeros((1, 1), int), jnp.full((1, 1), num_keys)
    if mask.causal:
        end = positions + 1
    elif mask.window is not None:
        end = jnp.minimum(positions + mask.window, num_keys)
    if mask.window is not None:
        begin = positions - mask.window + 1
    if mask.query_segments is None:
        return begin, end
    # Padding at the end of a row is then not even visited.
    keys = jnp.arange(1, num_keys + 1)[None] * (mask.key_segments > 0)
    end = jnp.minimum(end, keys.max(1, keepdims=True, initial=0))
    return begin, jnp.where(mask.query_segments > 0, end, 0)


def why_not(*_: object, bias: object = None, drop: object = None, **__: object) -> str:
    """Returns what this kernel wants and does not get, or nothing."""
    platform = platforms.target_platform()
    if platform != "cpu":
        return f"wants a CPU, and this program is for a {platform}"
    if bias is not None or drop is not None:
        return "takes no relative positions and no dropout of attention weights"
    return "" if library.register() else "wants a C++ compiler, g++ or clang++"


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _attend(operands, options) -> Array:
    return _attend_fwd(operands, options)[0]


def _attend_fwd(operands, options):
    mixed, lse = calls.attention_forward(operands, **_flags(options))
    return mixed, (operands, mixed, lse)


def _attend_bwd(options, residuals, slope):
    operands, mixed, lse = residuals
    slopes = calls.attention_backward(operands, mixed, lse, slope, **_flags(options))
    return ((*slopes, *[None] * 6),)


def _flags(options):
    return dict(zip(("segmented", "rotary", "scale", "dtype"), options, strict=True))


_attend.defvjp(_attend_fwd, _attend_bwd)
