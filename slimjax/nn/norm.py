"""Normalisation of the residual stream."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from slimjax.nn.axes import named


class RMSNorm(nn.Module):
    """Root-mean-square normalisation, in float32 whatever comes in.

    ``y = x / sqrt(mean(x^2) + epsilon) * scale``, with ``scale [D]`` on the axis
    ``embed``.

    References:
        Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, section 4.
    """

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Brings each vector to unit mean square, then scales its channels."""
        init = named(nn.initializers.ones, "embed")
        scale = self.param("scale", init, (x.shape[-1],), jnp.float32)
        x = x.astype(jnp.float32)
        mean_square = jnp.mean(x * x, axis=-1, keepdims=True)
        scale = jnp.expand_dims(scale, range(x.ndim - 1))
        return x * jax.lax.rsqrt(mean_square + self.epsilon) * scale
