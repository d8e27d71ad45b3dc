"""What a tower reads, and how it becomes a residual stream, beside tables of tokens."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.models.tower_config import TowerConfig
from slimjax.nn.activations import activate
from slimjax.nn.axes import named
from slimjax.nn.gates import is_width
from slimjax.nn.products import product


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


class Positions(nn.Module):
    """A table ``table [P D]`` of vectors of positions that are learned."""

    tower: TowerConfig

    @nn.compact
    def __call__(
        self, length: int, channels: Float[Array, " D"]
    ) -> Float[Array, "1 T D"]:
        """Returns the vectors of the first positions, times `channels`."""
        init = named(nn.initializers.normal(0.02), "places", self.tower.axis)
        shape = (self.tower.num_positions, self.tower.width)
        table = self.param("table", init, shape, jnp.float32)
        return (table[:length] * channels[None])[None]


class TokenTypes(nn.Module):
    """A table ``table [K D]`` of vectors of kinds of tokens."""

    tower: TowerConfig

    @nn.compact
    def __call__(
        self, kinds: Int[Array, "B T"], channels: Float[Array, " D"]
    ) -> Float[Array, "B T D"]:
        """Returns the vectors of the kinds of tokens, times `channels`."""
        init = named(nn.initializers.normal(0.02), "types", self.tower.axis)
        shape = (self.tower.token_types, self.tower.width)
        table = self.param("table", init, shape, jnp.float32)
        return jnp.take(table, kinds, axis=0) * channels[None, None]
