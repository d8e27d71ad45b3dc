"""Foreign calls: what is asked of a kernel, and the shapes that it gives back."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike

from slimjax.native.library import register


def make_call(
    target: str, shapes: Any, aliases: dict[int, int] | None = None
) -> Callable[..., Any]:
    """Returns the foreign call; raises RuntimeError if the kernels cannot be had."""
    if not register():
        raise RuntimeError(f"{target} wants a C++ compiler; see slimjax.native.")
    return jax.ffi.ffi_call(
        target, shapes, vmap_method="sequential", input_output_aliases=aliases
    )


def numbers(*shape: int) -> jax.ShapeDtypeStruct:
    """Returns a shape of float32 numbers."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def like(x: Array) -> jax.ShapeDtypeStruct:
    """Returns the shape of an array, of float32 numbers."""
    return numbers(*x.shape)


def rounds(dtype: DTypeLike) -> bool:
    """Whether operands of products are rounded on their way in."""
    return jnp.dtype(dtype) == jnp.bfloat16
