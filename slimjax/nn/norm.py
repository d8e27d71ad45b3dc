"""Normalisation of the residual stream."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from slimjax.nn.axes import named


class RMSNorm(nn.Module):
    """Root-mean-square normalisation, in float32 whatever comes in.

    ``y = x / sqrt(mean(x^2) + epsilon) * scale``, with ``scale [D]`` on the axis
    ``embed``. The mean is over open channels: closed ones are 0 and do not count.

    References:
        Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, section 4.
    """

    epsilon: float = 1e-6

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
        x = x.astype(jnp.float32)
        num_open = x.shape[-1] if channels is None else jnp.sum(channels > 0)
        mean_square = jnp.sum(x * x, axis=-1, keepdims=True) / num_open
        scale = jnp.expand_dims(scale, range(x.ndim - 1))
        return x * jax.lax.rsqrt(mean_square + self.epsilon) * scale
