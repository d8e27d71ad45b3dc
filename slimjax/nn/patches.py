"""Patches of pictures, each of which becomes a position of a residual stream."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Num

from slimjax.nn.axes import constrain, named
from slimjax.nn.convolution import scale_pixels, windows
from slimjax.nn.moments import note_input
from slimjax.nn.products import product


class Patches(nn.Module):
    """``patch @ kernel + bias``, for patches that lie side by side.

    Parameters: ``kernel [P P C D]`` and ``bias [1 D]``, which the gates of the channels
    multiply.

    Attributes:
        size: Height and width of a patch, P.
        width: Width of the residual stream, D.
        dtype: Type of the operands of products; sums are float32.
        axis: Name of the width of the residual stream.

    References:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 3.1.
    """

    size: int
    width: int
    dtype: DTypeLike = jnp.float32
    axis: str = "embed"

    @nn.compact
    def __call__(
        self, pixels: Num[Array, "B H W C"], channels: Float[Array, " D"]
    ) -> Float[Array, "B T D"]:
        """Returns the residual stream, one position for each patch, row by row.

        Args:
            pixels: Bytes, or numbers that have been scaled.
            channels: Gates of the residual stream.
        """
        seen = windows(scale_pixels(pixels), self.size, self.size)
        shape = self.size, self.size, pixels.shape[-1], self.width
        fan_in = nn.initializers.lecun_normal(in_axis=(0, 1, 2), out_axis=3)
        init = named(fan_in, "rows", "columns", "colors", self.axis)
        kernel = self.param("kernel", init, shape, jnp.float32)
        init = named(nn.initializers.zeros, "bias", self.axis)
        bias = self.param("bias", init, (1, self.width), jnp.float32)
        kernel = kernel.reshape(-1, self.width) * channels[None]
        seen = seen.reshape(seen.shape[0], -1, seen.shape[-1])
        note_input(self, "kernel", seen)
        out = product(seen, kernel, self.dtype) + (bias * channels[None])[None]
        return constrain(out, "batch", "positions", None)
