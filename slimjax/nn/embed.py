"""Tokens to vectors, and vectors back to tokens, through one table."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.nn.axes import constrain, named
from slimjax.nn.cross_entropy import Scores, score_targets
from slimjax.nn.products import product


class TiedEmbedding(nn.Module):
    """A table ``embedding [V D]`` that reads tokens in and scores them out.

    Entries start with a deviation of 0.02 and inputs are scaled by sqrt(D): the logits
    start near zero, also that of the token just read, and the residual stream is still
    large enough to be heard beside what the first layers add. The gates of the channels
    scale the table wherever it is used; what is multiplied by them is its input or
    output, since the table may be large.

    Attributes:
        vocab_size: Number of tokens, V.
        width: Width of the residual stream, D.
        scale: Factor of the vectors that are read, sqrt(D) of the model at its start.
        dtype: Type of the operands of products; sums are float32.

    References:
        Vaswani et al., "Attention Is All You Need", 2017, section 3.4 (the scale).
        Press and Wolf, "Using the Output Embedding to Improve Language Models", 2017.
    """

    vocab_size: int
    width: int
    scale: float
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Makes the table."""
        init = named(nn.initializers.normal(0.02), "vocab", "embed")
        shape = (self.vocab_size, self.width)
        self.embedding = self.param("embedding", init, shape, jnp.float32)

    def __call__(
        self, tokens: Int[Array, "B T"], channels: Float[Array, " D"]
    ) -> Float[Array, "B T D"]:
        """Returns the vectors of `tokens`."""
        table = constrain(self.embedding, "vocab", None)
        vectors = jnp.take(table, tokens, axis=0)
        x = vectors * (self.scale * channels)[None, None]
        return constrain(x, "batch", "positions", None)

    def logits(
        self, x: Float[Array, "B T D"], channels: Float[Array, " D"]
    ) -> Float[Array, "B T V"]:
        """Returns the score of every token of the vocabulary, float32."""
        return product(x * channels[None, None], self.embedding.T, self.dtype)

    def scores(
        self,
        x: Float[Array, "B T D"],
        targets: Int[Array, "B T"],
        channels: Float[Array, " D"],
    ) -> Scores:
        """Returns what losses need to know of the logits, without keeping them."""
        x = x * channels[None, None]
        return score_targets(x, self.embedding, targets, dtype=self.dtype)
