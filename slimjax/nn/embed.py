"""Tables: of tokens, which are read and scored by it, of positions and of types."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from slimjax.nn.axes import constrain, named
from slimjax.nn.cross_entropy import Scores, offset_of, score_targets
from slimjax.nn.products import product


class TiedEmbedding(nn.Module):
    """A table ``embedding [V D]`` that reads tokens in and scores them out.

    Entries start with a deviation of 0.02 and inputs are scaled by sqrt(D): the logits
    start near zero, also that of the token just read, and the residual stream is still
    large beside what the first layers add. The gates of the channels scale the table
    wherever it is used; what is multiplied by them is its input or output, since the
    table may be large.

    Attributes:
        vocab_size: Number of tokens, V.
        width: Width of the residual stream, D.
        scale: Factor of the vectors that are read, sqrt(D) of the model at its start.
        dtype: Type of the operands of products; sums are float32.
        axis: Name of the width of the residual stream.

    References:
        Vaswani et al., "Attention Is All You Need", 2017, section 3.4 (the scale).
        Press and Wolf, "Using the Output Embedding to Improve Language Models", 2017.
    """

    vocab_size: int
    width: int
    scale: float
    dtype: DTypeLike = jnp.float32
    axis: str = "embed"

    def setup(self) -> None:
        """Makes the table."""
        init = named(nn.initializers.normal(0.02), "vocab", self.axis)
        shape = (self.vocab_size, self.width)
        table = self.param("embedding", init, shape, jnp.float32)
        self.embedding = jnp.asarray(table)

    def __call__(
        self, tokens: Int[Array, "B T"], channels: Float[Array, " D"]
    ) -> Float[Array, "B T D"]:
        """Returns the vectors of `tokens`."""
        table = constrain(self.embedding, "vocab", None)
        vectors = jnp.take(table, tokens, axis=0)
        x = vectors * (self.scale * channels)[None, None]
        return constrain(x, "batch", "positions", None)

    def logits(
        self,
        x: Float[Array, "B T D"],
        channels: Float[Array, " D"],
        *,
        bias: Float[Array, " V"] | None = None,
        is_open: Bool[Array, " V"] | None = None,
    ) -> Float[Array, "B T V"]:
        """Returns the score of every token of the vocabulary, float32.

        Args:
            x: Final activations.
            channels: Gates of the residual stream.
            bias: What is added to the scores.
            is_open: Which tokens are open; others score `CLOSED`. None for all.
        """
        scores = product(x * channels[None, None], self.embedding.T, self.dtype)
        offset = offset_of(self.vocab_size, bias, is_open)
        return scores if offset is None else scores + offset[None, None]

    def scores(
        self,
        x: Float[Array, "B T D"],
        targets: Int[Array, "B T"],
        channels: Float[Array, " D"],
        *,
        bias: Float[Array, " V"] | None = None,
        is_open: Bool[Array, " V"] | None = None,
    ) -> Scores:
        """Returns what losses need to know of the logits, without keeping them."""
        x = x * channels[None, None]
        own = x, self.embedding, targets
        return score_targets(*own, dtype=self.dtype, bias=bias, is_open=is_open)


class PositionTable(nn.Module):
    """Vectors of positions that are learned: ``table [P D]``.

    Attributes:
        num_positions: Number of positions, P.
        axis: Name of the width of the residual stream.
        offset: Row of position 0: RoBERTa's tables begin at 2.

    References:
        Devlin et al., "BERT", 2019, section 3.
    """

    num_positions: int
    axis: str = "embed"
    offset: int = 0

    @nn.compact
    def __call__(
        self, positions: Int[Array, "#B T"], channels: Float[Array, " D"]
    ) -> Float[Array, "#B T D"]:
        """Returns the vectors of `positions`, times `channels`."""
        init = named(nn.initializers.normal(0.02), "places", self.axis)
        shape = self.num_positions + self.offset, channels.shape[0]
        table = self.param("table", init, shape, jnp.float32)
        rows = jnp.take(table, positions + self.offset, axis=0)
        return rows * channels[None, None]


class TypeTable(nn.Module):
    """Vectors of kinds of tokens, such as first and second sentence: ``table [K D]``.

    Attributes:
        num_types: Number of kinds, K.
        axis: Name of the width of the residual stream.

    References:
        Devlin et al., "BERT", 2019, section 3.
    """

    num_types: int
    axis: str = "embed"

    @nn.compact
    def __call__(
        self, types: Int[Array, "B T"], channels: Float[Array, " D"]
    ) -> Float[Array, "B T D"]:
        """Returns the vectors of `types`, times `channels`."""
        init = named(nn.initializers.normal(0.02), "types", self.axis)
        shape = self.num_types, channels.shape[0]
        table = self.param("table", init, shape, jnp.float32)
        kinds = jnp.take(table, types, axis=0, mode="clip")
        return kinds * channels[None, None]


class OutputTable(nn.Module):
    """Rows that score classes or tokens: ``table [C D]``, and ``bias [C]`` if any.

    Attributes:
        num_entries: Number of classes, C.
        entries: Name of their axis, ``vocab`` or ``classes``.
        axis: Name of the width of the residual stream.
        bias: Whether something is added to the scores.
        is_plain: Whether its spread at the start is 1 / sqrt(width), as of any layer
            that reads numbers without a norm, and not 0.02.
    """

    num_entries: int
    entries: str = "vocab"
    axis: str = "embed"
    bias: bool = False
    is_plain: bool = False

    @nn.compact
    def __call__(
        self, width: int
    ) -> tuple[Float[Array, "C D"], Float[Array, " C"] | None]:
        """Returns the table of vectors of this width, and the bias."""
        spread = width**-0.5 if self.is_plain else 0.02
        init = named(nn.initializers.normal(spread), self.entries, self.axis)
        shape = self.num_entries, width
        table = jnp.asarray(self.param("table", init, shape, jnp.float32))
        if not self.bias:
            return table, None
        init = named(nn.initializers.zeros, self.entries)
        return table, jnp.asarray(self.param("bias", init, shape[:1], jnp.float32))
