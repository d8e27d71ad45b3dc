"""What a head says before it is multiplied out, so that logits need never be whole."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from slimjax.nn.cross_entropy import Scores, score_targets
from slimjax.nn.products import product

CLOSED = -1e30
"""Logit of a class that is closed: finite, so that no difference of two is NaN."""


@struct.dataclass
class Readout:
    """The output of a head: ``logits = x @ table.T + bias``.

    A vocabulary of 100,000 and three classes go the same way. Losses score targets in
    blocks (`scores`), a student and its teacher are compared in blocks, and only small
    comparisons ask for the whole logits.

    Attributes:
        x: Final activations, with the gates of their channels in them where a table
            takes over gates that are folded.
        table: One row for each class.
        bias: What is added to the logits, or None.
        is_open: Which classes are open, or None when all are.
        dtype: Type of the operands of products; sums are float32.
    """

    x: Float[Array, "*batch D"]
    table: Float[Array, "C D"]
    bias: Float[Array, " C"] | None = None
    is_open: Bool[Array, " C"] | None = None
    dtype: DTypeLike = struct.field(pytree_node=False, default=jnp.float32)

    @property
    def offset(self) -> Float[Array, " C"] | None:
        """What is added to the logits: the bias, and `CLOSED` where a class is."""
        if self.is_open is None:
            return self.bias
        bias = jnp.zeros(len(self.table)) if self.bias is None else self.bias
        return jnp.where(self.is_open, bias, CLOSED)

    def plain(self) -> "Readout":
        """Returns the same logits without an offset, by two more channels of ones.

        The second one holds what the first loses where operands are rounded.
        """
        offset = self.offset
        if offset is None:
            return self
        coarse = offset.astype(self.dtype).astype(offset.dtype)
        columns = jnp.stack([coarse, offset - coarse], axis=1)
        ones = jnp.ones((*self.x.shape[:-1], 2), self.x.dtype)
        x = jnp.concatenate([self.x, ones], axis=-1)
        table = jnp.concatenate([self.table, columns], axis=1)
        return Readout(x, table, dtype=self.dtype)

    def scores(self, targets: Int[Array, "*batch"]) -> Scores:
        """Returns what losses need to know of the logits, without keeping them."""
        return score_targets(
            self.x,
            self.table,
            targets,
            dtype=self.dtype,
            bias=self.bias,
            is_open=self.is_open,
        )

    def logits(self) -> Float[Array, "*batch C"]:
        """Returns the logits of all classes, float32; `CLOSED` where one is closed."""
        logits = product(self.x, self.table.T, self.dtype)
        offset = self.offset
        if offset is None:
            return logits
        return logits + jnp.expand_dims(offset, range(logits.ndim - 1))
