"""The gated linear unit with a swish, as one function of its input and weights."""

import math
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from slimjax import native
from slimjax.native import calls
from slimjax.nn.products import is_many, product, products


def swiglu(
    x: Float[Array, "*batch D"],
    gate: Float[Array, "D F"],
    up: Float[Array, "D F"],
    down: Float[Array, "F D"],
    dtype: DTypeLike,
) -> Float[Array, "*batch D"]:
    """Returns ``(silu(x gate) * (x up)) down`` in float32, operands in `dtype`.

    References:
        Shazeer, "GLU Variants Improve Transformer", 2020, equation 6.
    """
    if not is_many(math.prod(x.shape[:-1])) or not native.is_enabled():
        return product(hidden_units(x, gate, up, dtype), down, dtype)
    rows = x.reshape(-1, x.shape[-1]).astype(jnp.float32)
    out = cast(Array, _native_swiglu(rows, gate, up, down, jnp.dtype(dtype)))
    return out.reshape(x.shape)


def hidden_units(
    x: Float[Array, "*batch D"],
    gate: Float[Array, "D F"],
    up: Float[Array, "D F"],
    dtype: DTypeLike,
) -> Float[Array, "*batch F"]:
    """Returns what `swiglu` maps down, ``silu(x gate) * (x up)``."""
    opened, moved = products(x, (gate, up), dtype)
    return jax.nn.silu(opened) * moved


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _native_swiglu(x, gate, up, down, dtype) -> Array:
    return calls.mlp_forward(x, gate, up, down, dtype)[0]


def _native_swiglu_fwd(x, gate, up, down, dtype):
    out, *kept = calls.mlp_forward(x, gate, up, down, dtype, keep=True)
    return out, (x, gate, up, down, kept)


def _native_swiglu_bwd(dtype, residuals, slope):
    x, gate, up, down, kept = residuals
    return calls.mlp_backward(x, gate, up, down, kept, slope, dtype)


_native_swiglu.defvjp(_native_swiglu_fwd, _native_swiglu_bwd)
