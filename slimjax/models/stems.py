"""What a tower reads, and how it becomes a residual stream, beside tables of tokens."""

from collections.abc import Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.models.tower_config import TowerConfig
from slimjax.nn.activations import activate
from slimjax.nn.axes import named
from slimjax.nn.convolution import Convolution
from slimjax.nn.gates import is_width
from slimjax.nn.moments import note_input
from slimjax.nn.patches import Patches
from slimjax.nn.positions import sinusoids
from slimjax.nn.products import product


def make_image_stem(tower: TowerConfig, dtype: DTypeLike) -> Convolution | Patches:
    """Returns what makes a residual stream of pictures."""
    picture = tower.picture
    assert picture is not None
    if picture.patch:
        return Patches(picture.patch, tower.width, dtype, tower.axis, name="patches")
    options = tower.width, dtype, tower.axis, tower.epsilon
    return Convolution(picture, *options, name="convolution")


class FeatureStem(nn.Module):
    """``act(x @ kernel + bias)``: numbers to a residual stream of one position.

    Parameters: ``kernel [F D]`` and ``bias [1 D]``. Where ``D`` is the width of a
    residual stream, its gates multiply both. Where it is hidden units, behind an
    activation, their gates are those of what reads them.

    Attributes:
        tower: The tower: number of features, width, axis and activation.
        dtype: Type of the operands of products.
    """

    tower: TowerConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch F"], channels: Float[Array, " D"]
    ) -> Float[Array, "*batch D"]:
        """Returns the residual stream."""
        tower = self.tower
        init = named(nn.initializers.lecun_normal(), "features", tower.axis)
        shape = (tower.num_inputs, tower.width)
        kernel = self.param("kernel", init, shape, jnp.float32)
        init = named(nn.initializers.zeros, "bias", tower.axis)
        bias = self.param("bias", init, (1, tower.width), jnp.float32)
        if is_width(tower.axis):
            kernel, bias = kernel * channels[None], bias * channels[None]
        out = product(x.reshape(-1, x.shape[-1]), kernel, self.dtype) + bias
        out = activate(out, tower.activation)
        return out.reshape(*x.shape[:-1], tower.width)


class StreamStem(nn.Module):
    """The last streams of other towers as one, one after the other.

    A stream of another width is multiplied with a kernel ``NAME [E D]``, and gets a
    bias ``NAME_bias [1 D]``, which also tells where a position is from. A stream of the
    same axis is read as it is.

    Attributes:
        tower: The tower that reads.
        axes: Names of the widths of what it reads.
        dtype: Type of the operands of products.
    """

    tower: TowerConfig
    axes: tuple[str, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, streams: Sequence[Float[Array, "B _ _"]], channels: Float[Array, " D"]
    ) -> Float[Array, "B S D"]:
        """Returns one stream.

        Args:
            streams: What is read, as the last norm of each tower leaves it.
            channels: Gates of the tower's own stream.
        """
        parts, axis, width = [], self.tower.axis, self.tower.width
        for name, own, x in zip(self.tower.of, self.axes, streams, strict=True):
            if own == axis:
                parts.append(x)
                continue
            init = named(nn.initializers.lecun_normal(), own, axis)
            kernel = self.param(name, init, (x.shape[-1], width), jnp.float32)
            init = named(nn.initializers.normal(0.02), "bias", axis)
            bias = self.param(f"{name}_bias", init, (1, width), jnp.float32)
            note_input(self, name, x)
            made = product(x, kernel * channels[None], self.dtype)
            parts.append(made + (bias * channels[None])[None])
        return jnp.concatenate(parts, axis=1)


class Sinusoids(nn.Module):
    """Vectors of positions that are given and not learned: ``sinusoids [P D]``.

    They stand in a table, like learned ones, since each channel has a frequency of its
    own, and a model that loses channels keeps the frequencies of the others.

    Attributes:
        num_positions: Number of positions, P.
        axis: Name of the width of the residual stream.
        scale: The factor of tokens, which the table is divided by: it is given what
            tokens are multiplied with, and its own size stays that of the paper.
    """

    num_positions: int
    axis: str
    scale: float = 1.0

    @nn.compact
    def __call__(
        self, positions: Int[Array, "#B T"], channels: Float[Array, " D"]
    ) -> Float[Array, "#B T D"]:
        """Returns the vectors of `positions`, times `channels`."""

        def init(key: Array, shape: tuple[int, int], dtype: DTypeLike) -> Array:
            del key
            places = jnp.arange(shape[0])[None]
            return (sinusoids(places, shape[1])[0] / self.scale).astype(dtype)

        shape = self.num_positions, channels.shape[0]
        init = named(cast(Any, init), "places", self.axis)
        table = self.param("sinusoids", init, shape, jnp.float32)
        table = jax.lax.stop_gradient(table)
        return jnp.take(table, positions, axis=0) * channels[None, None]
