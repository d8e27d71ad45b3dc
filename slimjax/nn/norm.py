"""Normalisation of the residual stream."""

from functools import partial
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from slimjax import native
from slimjax.native import calls
from slimjax.nn.axes import named
from slimjax.nn.products import MIN_ROWS

EPSILON = 1e-6
"""What keeps the root of a mean square away from zero."""


def rms_norm(
    x: Float[Array, "*batch D"],
    scale: Float[Array, " D"],
    epsilon: float = EPSILON,
    num_open: int | Float[Array, ""] | None = None,
) -> Float[Array, "*batch D"]:
    """Returns ``x / sqrt(mean(x^2) + epsilon) * scale``, in float32.

    The mean is over `num_open` channels, all by default.
    """
    x = x.astype(jnp.float32)
    count = x.shape[-1] if num_open is None else num_open
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) >= MIN_ROWS and native.is_enabled():
        count = jnp.asarray(count, jnp.float32)
        return cast(Array, _native_norm(rows, scale, count, epsilon)).reshape(x.shape)
    scale = jnp.expand_dims(scale, range(x.ndim - 1))
    mean_square = jnp.sum(x * x, axis=-1, keepdims=True) / count
    return x * jax.lax.rsqrt(mean_square + epsilon) * scale


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _native_norm(x, scale, count, epsilon) -> Array:
    return calls.norm_forward(x, scale, count, epsilon)[0]


def _native_norm_fwd(x, scale, count, epsilon):
    out, inverse = calls.norm_forward(x, scale, count, epsilon)
    return out, (x, scale, count, inverse)


def _native_norm_bwd(_, residuals, slope):
    x, scale, count, inverse = residuals
    return *calls.norm_backward(x, scale, count, inverse, slope), None


_native_norm.defvjp(_native_norm_fwd, _native_norm_bwd)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation, in float32 whatever comes in.

    ``y = x / sqrt(mean(x^2) + epsilon) * scale``, with ``scale [D]`` on the axis
    ``embed``. The mean is over open channels: closed ones are 0 and do not count.

    References:
        Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, section 4.
    """

    epsilon: float = EPSILON

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch D"], channels: Float[Array, " D"] | None = None
    ) -> Float[Array, "*batch D"]:
        """Brings each vector to unit mean square, then scales its channels.

        Args:
            x: Vectors, 0 in closed channels.
            channels: Gates of the channels; None when all are open.
        """
        init = named(nn.initializers.ones, "embed")
        scale = self.param("scale", init, (x.shape[-1],), jnp.float32)
        num_open = None if channels is None else jnp.sum(channels > 0)
        return rms_norm(x, scale, self.epsilon, num_open)
