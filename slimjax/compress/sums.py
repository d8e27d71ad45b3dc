"""Sums over positions, taken where they are fast: on the host only beside a CPU."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from slimjax.nn.products import product, sums
from slimjax.trees import Path


def second_moment(
    x: Float[Array, "B T I"], mask: Float[np.ndarray, "B T"], dtype: Any = jnp.float32
) -> Float[np.ndarray, "I I"]:
    """Returns the sum of ``x^T x`` over positions, float32.

    On a CPU it is computed with NumPy, which computes one half of the matrix only.
    Elsewhere operands are in `dtype`, sums are in float32, and stay on the device.
    """
    if jax.default_backend() == "cpu":
        rows = unpadded(np.asarray(x, np.float32), mask)
        return rows.T @ rows
    return _moment_on_device(x, mask, jnp.dtype(dtype))  # pyright: ignore


def unpadded(
    x: Float[np.ndarray, "B T I"], mask: Float[np.ndarray, "B T"]
) -> Float[np.ndarray, "P I"]:
    """Returns the positions that are no padding, one after the other."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if mask.all() else rows[mask.reshape(-1) > 0]


@functools.partial(jax.jit, static_argnums=2)
def _moment_on_device(x: Array, mask: Array, dtype: Any) -> Array:
    rows = (x * mask[..., None]).reshape(-1, x.shape[-1])
    return product(rows.T, rows, dtype)


def total(x: Float[Array, "B T I"], mask: Float[np.ndarray, "B T"]) -> np.ndarray:
    """Returns the sum of x over positions, float32 ``[I]``."""
    if jax.default_backend() == "cpu":
        rows = np.asarray(x, np.float32).reshape(-1, x.shape[-1])
        return mask.reshape(-1) @ rows
    return _total_on_device(x, mask)  # pyright: ignore


@jax.jit
def _total_on_device(x: Array, mask: Array) -> Array:
    return jnp.einsum("BTI,BT->I", x.astype(jnp.float32), mask, **sums(jnp.float32))


def at_rest(x: Array) -> Any:
    """Returns what lies between two layers: as a host array if the device is a CPU.

    An accelerator keeps it: the way to the host would take longer than the layer.
    """
    return np.asarray(x) if jax.default_backend() == "cpu" else x


def add_to(sums: dict[Path, Any], path: Path, value: Any) -> None:
    """Adds an array to the sum of a path."""
    if path in sums:
        sums[path] += value
    else:
        is_view = isinstance(value, np.ndarray)  # It is added to in place.
        sums[path] = np.array(value) if is_view else value
