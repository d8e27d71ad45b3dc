"""Attention by the kernels of `slimjax.native`, in memory linear in T."""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.native import calls, library
from slimjax.nn import platforms
from slimjax.nn.positions import Rotation


def attend_native(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    *,
    causal: bool = True,
    window: int | None = None,
    query_positions: Int[Array, "B T"] | None = None,
    query_segments: Int[Array, "B T"] | None = None,
    key_segments: Int[Array, "B S"] | None = None,
    rotation: Rotation | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "B T N H"]:
    """Returns what `attend_reference` returns; takes the same, and one argument more.

    A mask is told to the kernel as the stretch of keys that each query sees. With
    `rotation`, as `slimjax.nn.positions.rotation_table` makes it, queries and keys are
    turned on their way in.
    """
    shape, num_keys = query.shape[:2], key.shape[1]
    positions = (
        jnp.arange(shape[1])[None] if query_positions is None else query_positions
    )
    end = positions + 1 if causal else jnp.full((1, 1), num_keys)
    begin = jnp.zeros((1, 1), int) if window is None else positions - window + 1
    segmented = query_segments is not None
    nothing = jnp.zeros((1, 1), jnp.int32)
    operands = tuple(x.astype(jnp.float32) for x in (query, key, value))
    operands += tuple(
        jnp.broadcast_to(x, shape).astype(jnp.int32) for x in (begin, end)
    )
    operands += (query_segments, key_segments) if segmented else (nothing, nothing)
    if rotation is None:
        operands += (jnp.zeros((1, 1, 1)),) * 2
    else:
        operands += tuple(x.squeeze(2) for x in rotation)
    options = segmented, rotation is not None, jnp.dtype(dtype)
    return cast(Array, _attend(operands, options))


def why_not(*_: object, **__: object) -> str:
    """Returns what this kernel wants and does not get, or nothing."""
    platform = platforms.target_platform()
    if platform != "cpu":
        return f"wants a CPU, and this program is for a {platform}"
    return "" if library.register() else "wants a C++ compiler, g++ or clang++"


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _attend(operands, options) -> Array:
    return _attend_fwd(operands, options)[0]


def _attend_fwd(operands, options):
    segmented, rotary, dtype = options
    mixed, lse = calls.attention_forward(
        operands, segmented=segmented, rotary=rotary, dtype=dtype
    )
    return mixed, (operands, mixed, lse)


def _attend_bwd(options, residuals, slope):
    segmented, rotary, dtype = options
    operands, mixed, lse = residuals
    slopes = calls.attention_backward(
        *(operands, mixed, lse, slope), segmented=segmented, rotary=rotary, dtype=dtype
    )
    return ((*slopes, *[None] * 6),)


_attend.defvjp(_attend_fwd, _attend_bwd)
