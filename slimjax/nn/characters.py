"""Characters: the bytes of a token, with their places in it, become its vector.

    bytes [L] -> vectors + places [L E] -> convolution of 3 -> relu -> maximum [D]

References:
    Kim et al., "Character-Aware Neural Language Models", 2016, section 2.2: filters
    over the characters of a word, then the maximum. Here places are added, and the
    filters are the channels of the residual stream.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.nn.axes import named
from slimjax.nn.largest import largest
from slimjax.nn.products import product

TAPS = 3
"""Bytes that a filter reads together."""

NUM_CODES = 272
"""Nothing, 256 bytes, and tokens without bytes: see `slimjax.data.spelling`."""


class Characters(nn.Module):
    """Vectors of tokens from their bytes.

    Parameters: ``bytes [codes E]``, ``places [L E]``, ``kernel [3 E D]`` and ``bias [1
    D]``. The gates of the channels multiply the last two: a relu and a maximum let a
    factor through that is not negative.

    Attributes:
        width: Width of the residual stream, D.
        dim: Width of the vectors of bytes, E.
        length: Bytes of a token, L.
        dtype: Type of the operands of products.
        axis: Name of the width of the residual stream.
    """

    width: int
    dim: int
    length: int
    dtype: DTypeLike = jnp.float32
    axis: str = "embed"

    @nn.compact
    def __call__(
        self, codes: Int[Array, "B T L"], channels: Float[Array, " D"]
    ) -> Float[Array, "B T D"]:
        """Returns the vectors of tokens.

        Args:
            codes: Numbers of their bytes; 0 behind the last one.
            channels: Gates of the residual stream.
        """
        normal = nn.initializers.normal(1.0)
        init = named(normal, "codes", "byte_dim")
        table = self.param("bytes", init, (NUM_CODES, self.dim), jnp.float32)
        init = named(nn.initializers.normal(0.3), "places", "byte_dim")
        places = self.param("places", init, (self.length, self.dim), jnp.float32)
        fan_in = nn.initializers.lecun_normal(in_axis=(0, 1), out_axis=2)
        init = named(fan_in, "taps", "byte_dim", self.axis)
        shape = TAPS, self.dim, self.width
        kernel = self.param("kernel", init, shape, jnp.float32)
        init = named(nn.initializers.zeros, "bias", self.axis)
        bias = self.param("bias", init, (1, self.width), jnp.float32)
        x = jnp.take(table, codes, axis=0) + places[None, None]
        x = jnp.where((codes > 0)[..., None], x, 0.0)
        side = TAPS // 2
        padded = jnp.pad(x, ((0, 0), (0, 0), (side, side), (0, 0)))
        length = codes.shape[2]
        windows = [padded[:, :, i : i + length] for i in range(TAPS)]
        windows = jnp.concatenate(windows, axis=-1)
        kernel = kernel.reshape(-1, self.width) * channels[None]
        out = product(windows, kernel, self.dtype)
        out = jax.nn.relu(out + (bias * channels[None])[None, None])
        out = jnp.where((codes > 0)[..., None], out, 0.0)
        return largest(out, axis=2)
