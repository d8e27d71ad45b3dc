"""A convolution of pictures: stages of filters, then a product to a residual stream.

    x <- pool(act(norm(x * kernel + bias)))      for each stage
    stream = x @ out + out_bias                  at each place of what is left

Filters are units: the gates of a stage multiply the weights that read them, those of
the next stage or ``out``, and norms leave closed ones out. So a closed filter is what a
filter is that was cut. There are no statistics of batches: a picture is answered in the
same way whatever stands beside it.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Num

from slimjax.nn.activations import activate
from slimjax.nn.axes import constrain, named
from slimjax.nn.gates import gate
from slimjax.nn.largest import largest
from slimjax.nn.moments import note_input, note_moments, wants_moments
from slimjax.nn.norm import EPSILON, make_norm
from slimjax.nn.pictures import Picture, Stage
from slimjax.nn.products import product

MIDDLE = 127.5
"""Half of what a byte may hold: bytes become numbers from -1 to 1."""


class Convolution(nn.Module):
    """Stages of filters; see the module.

    Parameters of stage n: ``kernel_n [K K C F]``, ``bias_n [F]`` and those of
    ``norm_n``; of the last product ``out [F D]`` and ``out_bias [1 D]``. Gates:
    ``filters_n [F]``.

    Attributes:
        picture: The pictures, and the stages.
        width: Width of the residual stream, D.
        dtype: Type of the operands of products; sums are float32.
        axis: Name of the width of the residual stream.
        epsilon: What keeps the root of norms away from zero.

    References:
        LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """

    picture: Picture
    width: int
    dtype: DTypeLike = jnp.float32
    axis: str = "embed"
    epsilon: float = EPSILON

    @nn.compact
    def __call__(
        self, pixels: Num[Array, "B H W C"], channels: Float[Array, " D"]
    ) -> Float[Array, "B T D"]:
        """Returns the residual stream, one position for each place, row by row.

        Args:
            pixels: Bytes, or numbers that have been scaled.
            channels: Gates of the residual stream.
        """
        x, units, read = scale_pixels(pixels), None, "colors"
        for number, stage in enumerate(self.picture.stages):
            x = self._filter(number, stage, x, units, read)
            read = f"filters_{number}"
            units = gate(self, read, stage.filters)
            x = self._normalise(number, x, units, read)
            x = pool_squares(
                activate(x, self.picture.activation), stage.pool, self.picture.pool
            )
        assert units is not None
        return self._write(x, units, channels, read)

    def _filter(
        self, number: int, stage: Stage, x: Array, units: Array | None, read: str
    ) -> Float[Array, "B H W F"]:
        """Returns what the filters of a stage make of what they read."""
        name, made = f"kernel_{number}", f"filters_{number}"
        shape = stage.kernel, stage.kernel, x.shape[-1], stage.filters
        he = nn.initializers.variance_scaling(
            2.0, "fan_in", "truncated_normal", in_axis=(0, 1, 2), out_axis=3
        )
        init = named(he, "rows", "columns", read, made)
        kernel = self.param(name, init, shape, jnp.float32)
        init = named(nn.initializers.zeros, made)
        bias = self.param(f"bias_{number}", init, (stage.filters,), jnp.float32)
        if units is not None:
            kernel = kernel * units[None, None, :, None]
        seen = windows(x, stage.kernel, stage.stride)
        note_input(self, name, seen)
        if wants_moments(self) and units is not None:
            note_moments(self, name, seen)
        out = product(seen, kernel.reshape(-1, stage.filters), self.dtype)
        return constrain(out + bias[None, None, None], "batch", None, None, made)

    def _normalise(
        self, number: int, x: Array, units: Array, axis: str
    ) -> Float[Array, "B H W F"]:
        """Returns normalised filters; closed ones are 0."""
        is_open = (units > 0)[None, None, None]
        kind, x = self.picture.norm, jnp.where(is_open, x, 0.0)
        options: dict[str, Any] = dict(epsilon=self.epsilon, axis=axis)
        options |= dict(name=f"norm_{number}")
        if kind == "none":
            return x
        if kind == "group":
            return GroupNorm(**options)(x, units)
        norm: Any = make_norm(kind, **options)
        return norm(x, units)

    def _write(
        self, x: Array, units: Array, channels: Array, read: str
    ) -> Float[Array, "B T D"]:
        """Returns the residual stream that the last filters are written to."""
        init = named(nn.initializers.lecun_normal(), read, self.axis)
        shape = x.shape[-1], self.width
        kernel = self.param("out", init, shape, jnp.float32)
        init = named(nn.initializers.zeros, "bias", self.axis)
        bias = self.param("out_bias", init, (1, self.width), jnp.float32)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        note_input(self, "out", x)
        if wants_moments(self):
            note_moments(self, "out", x)
        kernel = kernel * units[:, None] * channels[None]
        out = product(x, kernel, self.dtype) + (bias * channels[None])[None]
        return constrain(out, "batch", "positions", None)


class GroupNorm(nn.Module):
    """Normalisation over all places and open filters of a picture, in float32.

    It is group norm with one group: what is removed changes no other group. Parameters:
    ``scale`` and ``bias``, of the filters. Closed filters come out as 0.

    Attributes:
        epsilon: What keeps the root away from zero.
        axis: Name of the axis of filters.

    References:
        Wu and He, "Group Normalization", 2018, section 3.
    """

    epsilon: float
    axis: str

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W F"], units: Float[Array, " F"]
    ) -> Float[Array, "B H W F"]:
        """Normalises each picture.

        Args:
            x: Filters, 0 where they are closed.
            units: Their gates.
        """
        shape, is_open = (x.shape[-1],), (units > 0)[None, None, None]
        init = named(nn.initializers.ones, self.axis)
        scale = self.param("scale", init, shape, jnp.float32)[None, None, None]
        init = named(nn.initializers.zeros, self.axis)
        bias = self.param("bias", init, shape, jnp.float32)[None, None, None]
        count = jnp.sum(units > 0) * x.shape[1] * x.shape[2]
        mean = x.sum((1, 2, 3), keepdims=True) / count
        centred = jnp.where(is_open, x - mean, 0.0)
        variance = jnp.square(centred).sum((1, 2, 3), keepdims=True) / count
        out = centred / jnp.sqrt(variance + self.epsilon) * scale
        return out + jnp.where(is_open, bias, 0.0)


def scale_pixels(pixels: Num[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns bytes as numbers from -1 to 1, float32; other numbers stay as they are.

    Examples:
        >>> scale_pixels(jnp.array([0, 255], jnp.uint8)).tolist()
        [-1.0, 1.0]
    """
    if jnp.issubdtype(pixels.dtype, jnp.integer):
        return pixels.astype(jnp.float32) / MIDDLE - 1.0
    return pixels.astype(jnp.float32)


def windows(
    x: Float[Array, "B H W C"], size: int, stride: int
) -> Float[Array, "B h w K"]:
    """Returns what a filter reads at each of its places; beyond the edge stand zeros.

    Args:
        x: A picture, or filters; the stride divides its sides.
        size: Height and width of a filter.
        stride: Places from one use to the next.

    Returns:
        ``K = size * size * C`` numbers for each place, rows first.

    Examples:
        >>> windows(jnp.arange(4.0).reshape(1, 2, 2, 1), 2, 2).tolist()
        [[[[0.0, 1.0, 2.0, 3.0]]]]
    """
    height, width = x.shape[1:3]
    beyond = max(size - stride, 0)
    low, high = beyond // 2, beyond - beyond // 2
    x = jnp.pad(x, ((0, 0), (low, high), (low, high), (0, 0)))
    # First along the width, then along the height: 2 K copies in place of K^2.
    columns = [x[:, :, j : j + width : stride] for j in range(size)]
    x = jnp.concatenate(columns, axis=-1)
    rows = [x[:, i : i + height : stride] for i in range(size)]
    return jnp.concatenate(rows, axis=-1)


def pool_squares(
    x: Float[Array, "B H W F"], size: int, kind: str
) -> Float[Array, "B h w F"]:
    """Returns the maximum or the mean of squares that lie side by side.

    Examples:
        >>> pool_squares(jnp.arange(4.0).reshape(1, 2, 2, 1), 2, "max").tolist()
        [[[[3.0]]]]
    """
    if size == 1:
        return x
    rows, height, width, filters = x.shape
    x = x.reshape(rows, height // size, size, width // size, size, filters)
    return largest(largest(x, 4), 2) if kind == "max" else x.mean((2, 4))
