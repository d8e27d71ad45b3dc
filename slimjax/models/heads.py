"""Heads: from the last residual stream of a tower to readouts."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from slimjax.models.head import HeadConfig
from slimjax.models.tower_config import TowerConfig
from slimjax.nn.axes import named
from slimjax.nn.copying import Copying, Source
from slimjax.nn.embed import OutputTable
from slimjax.nn.pooling import Pooler, Transform, normalize
from slimjax.nn.readout import Readout


class Head(nn.Module):
    """A table ``table [C D]`` of its own, if none is given, and ``bias [C]`` if any.

    With `HeadConfig.pooler`, ``pooler`` stands before it, BERT's product and tanh. With
    `HeadConfig.transform`, ``transform`` before a tied table, whose ``bias`` is then
    the head's own. With `HeadConfig.copy_dim`, ``copying`` beside it, see
    `slimjax.nn.copying`.

    Attributes:
        head: What is answered.
        tower: The tower that it reads.
        dtype: Type of the operands of products.
        memory_axis: Name of the width of what may be copied.
    """

    head: HeadConfig
    tower: TowerConfig
    dtype: DTypeLike = jnp.float32
    memory_axis: str = ""

    def setup(self) -> None:
        """Makes the parts."""
        head = self.head
        if head.pooler:
            options = self.dtype, self.tower.axis, head.pooler_activation
            self.pooler = Pooler(head.pooler, *options)
        if head.transform:
            options = head.transform, head.epsilon, self.dtype, self.tower.axis
            self.transform = Transform(*options)
        axis = "pooled" if head.pooler else self.tower.axis
        entries = "vocab" if self._scores_tokens else "classes"
        if head.table == "own":
            is_plain = self.tower.reads_numbers and not self.tower.layers
            self.own = OutputTable(head.answers, entries, axis, head.bias, is_plain)
            nn.share_scope(self, self.own)
        elif head.bias:
            init = named(nn.initializers.zeros, entries)
            self.bias = self.param("bias", init, (head.answers,), jnp.float32)
        if head.copy_dim:
            options = self.tower.axis, self.memory_axis, self.dtype
            self.copying = Copying(head.copy_dim, *options)

    def __call__(
        self,
        x: Float[Array, "*batch D"],
        channels: Float[Array, " D"],
        table: Float[Array, "C D"] | None = None,
        source: Source | None = None,
    ) -> Readout:
        """Returns the readout.

        Args:
            x: What the head reads, not yet times the gates of its channels.
            channels: Those gates.
            table: Another table, if the head has none of its own.
            source: What may be copied, if the head copies.
        """
        stream = x
        if self.head.pooler:
            x = self.pooler(x, channels)
        else:
            x = self.transform(x, channels) if self.head.transform else x
            # A table takes over gates that are folded; vectors are read as they are.
            is_table = self.head.table != "batch"
            read = channels if is_table else (channels > 0).astype(x.dtype)
            x = x * jnp.expand_dims(read, range(x.ndim - 1))
        x = x if self.head.scale == 1.0 else x * self.head.scale
        if self.head.table == "batch":
            x = normalize(x)
            return Readout(x, x)
        bias = self.bias if table is not None and self.head.bias else None
        if table is None:
            table, bias = self.own(x.shape[-1])
        readout = Readout(x, table, bias, dtype=self.dtype)
        if not self.head.copy_dim:
            return readout
        assert source is not None
        return self.copying(stream, source, readout)

    @property
    def _scores_tokens(self) -> bool:
        """Whether the answers are the tokens of the tower."""
        is_token = self.tower.has_table and self.head.at == "each"
        return is_token and self.head.answers == self.tower.num_inputs
