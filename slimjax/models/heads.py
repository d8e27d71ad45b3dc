"""Heads: from the last residual stream of a tower to readouts."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float

from slimjax.models.head import HeadConfig
from slimjax.models.tower_config import TowerConfig
from slimjax.nn.axes import named
from slimjax.nn.readout import Readout


class Head(nn.Module):
    """A table ``table [C D]`` of its own, and ``bias [C]`` if it has one.

    Attributes:
        head: What is answered.
        tower: The tower that it reads.
        dtype: Type of the operands of products.
    """

    head: HeadConfig
    tower: TowerConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "*batch D"],
        channels: Float[Array, " D"],
        table: Float[Array, "C D"] | None = None,
    ) -> Readout:
        """Returns the readout.

        Args:
            x: What the head reads, not yet times the gates of its channels.
            channels: Those gates.
            table: Another table, if the head has none of its own.
        """
        axis, shape = self._axis, (self.head.answers, x.shape[-1])
        if table is None:
            init = named(nn.initializers.normal(0.02), axis, self.tower.axis)
            table = self.param("table", init, shape, jnp.float32)
        bias = None
        if self.head.bias:
            zeros = named(nn.initializers.zeros, axis)
            bias = self.param("bias", zeros, shape[:1], jnp.float32)
        x = x * jnp.expand_dims(channels, range(x.ndim - 1))
        return Readout(x, table, bias, dtype=self.dtype)

    @property
    def _axis(self) -> str:
        """Name of the axis of answers: tokens of the tower, or classes."""
        is_token = self.tower.stem == "tokens" and self.head.at == "each"
        is_token &= self.head.answers == self.tower.num_inputs
        return "vocab" if is_token else "classes"


def pool(
    x: Float[Array, "B T D"], at: str, is_there: Bool[Array, "B T"] | None
) -> Float[Array, "B D"]:
    """Returns one vector of each row: of its first position, or over all of them.

    Args:
        x: The vectors of all positions.
        at: first, mean or max.
        is_there: Which positions count; None for all.
    """
    if at == "first":
        return x[:, 0]
    there = jnp.ones(x.shape[:2], bool) if is_there is None else is_there
    there = there[..., None]
    if at == "max":
        return jnp.max(jnp.where(there, x, -jnp.inf), axis=1, initial=-1e30)
    total = jnp.sum(jnp.where(there, x, 0.0), axis=1)
    return total / jnp.maximum(jnp.sum(there, axis=1), 1)
