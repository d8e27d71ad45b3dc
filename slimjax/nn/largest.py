"""The maximum along an axis, with a gradient that is never 0 / 0.

The gradient of `jnp.max` looks for the values that equal the maximum, and divides by
their number. A compiler may compute those values twice, rounded differently, so that
none equals it: then the gradient is NaN. Here each comparison of two values decides
which of them gets the gradient, so one always does.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def larger(
    one: Float[Array, "*shape"], other: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Returns the larger of two values; of equal ones, the first gets the gradient.

    Examples:
        >>> float(jax.grad(larger)(1.0, 1.0)), float(jax.grad(larger)(1.0, 2.0))
        (1.0, 0.0)
    """
    return jnp.maximum(one, other)


@larger.defjvp
def _larger_jvp(primals, tangents):
    one, other = primals
    return larger(one, other), jnp.where(other > one, *reversed(tangents))


def largest(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Returns the maximum along an axis, which must not be empty.

    An axis whose length is a symbol, in a model that is exported, has `jnp.max`.

    Examples:
        >>> largest(jnp.array([[3.0, 1.0, 2.0]]), 1)
        Array([3.], dtype=float32)
    """
    if not isinstance(x.shape[axis], int):
        return jnp.max(x, axis)
    while (size := x.shape[axis]) > 1:
        half = size // 2
        parts = jnp.split(x, [half, 2 * half], axis)
        x = larger(*parts[:2])
        if size % 2:
            x = jnp.concatenate([x, parts[2]], axis)
    return jnp.squeeze(x, axis)
