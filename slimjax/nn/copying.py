"""Copying: what a model writes may be a token of the source.

    p(v) = (1 - c) softmax(table x)[v] + c sum_{j: source_j = v} a_j

c is a sigmoid of the last residual stream, and a attention from there to the source,
of one head. The probability of a target needs no sum over the vocabulary beside that of
the table, so losses score targets in blocks, as without copying.

References:
    See et al., "Get To The Point: Summarization with Pointer-Generator Networks",
    2017, section 2.2 (there a is the attention that the decoder reads with).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, DTypeLike, Float, Int, PyTree

from slimjax.errors import ConfigError
from slimjax.nn.attention_reference import NEG_INF
from slimjax.nn.axes import named
from slimjax.nn.cache import has_cache, recall, replace
from slimjax.nn.cross_entropy import Scores
from slimjax.nn.products import product, sums
from slimjax.nn.readout import Readout

TINY = 1e-30
"""Least probability of what is copied, so that its logarithm is finite."""


@struct.dataclass
class Source:
    """What may be copied.

    Attributes:
        tokens: Tokens of the source, ``[B S]``.
        memory: What the encoder makes of them, ``[B S M]``; None if a cache has it.
        segments: 0 for padding, ``[B S]``; None if there is none.
    """

    tokens: PyTree
    memory: PyTree = None
    segments: PyTree = None


@struct.dataclass
class CopyReadout(Readout):
    """A readout that mixes the table's probabilities with attention to a source.

    Attributes:
        attention: How much each token of the source is looked at, ``[*batch S]``.
        mix: The logit of c, ``[*batch]``.
        source: Tokens of the source, ``[B S]``.
    """

    attention: PyTree = None
    mix: PyTree = None
    source: PyTree = None

    def plain(self) -> Readout:
        """Raises `ConfigError`: it is no product with a table."""
        raise ConfigError(
            "Models that copy (config.model.copies=True) cannot be distilled. Set "
            "config.distill.teacher='' or config.model.copies=False."
        )

    def scores(self, targets: Int[Array, "B T"]) -> Scores:
        """Returns what losses need to know: of logits whose softmax is p."""
        table = super().scores(targets)
        is_own = self.source[:, None] == targets[..., None]
        mass = jnp.sum(jnp.where(is_own, self.attention, 0.0), axis=-1)
        log_p = self._mixed(table.target - table.log_norm, mass)
        mean = table.mean - table.log_norm + self._log_mean(table.log_norm)
        return Scores(log_p + table.log_norm, table.log_norm, mean + table.log_norm)

    def logits(self) -> Float[Array, "*batch C"]:
        """Returns log p of all tokens, float32."""
        log_p = jax.nn.log_softmax(super().logits())
        num_rows, num_keys = self.source.shape
        shares = self.attention.reshape(num_rows, -1, num_keys)
        places = jnp.arange(num_rows)[:, None, None], jnp.arange(shares.shape[1])
        zeros = jnp.zeros((*shares.shape[:2], log_p.shape[-1]))
        mass = zeros.at[places[0], places[1][None, :, None], self.source[:, None]]
        mass = mass.add(shares).reshape(log_p.shape)
        return self._mixed(log_p, mass, self.mix[..., None])

    def _mixed(self, log_p: Array, mass: Array, mix: Array | None = None) -> Array:
        """Returns the logarithm of a probability of the table and one of the source."""
        mix = self.mix if mix is None else mix
        copied = jax.nn.log_sigmoid(mix) + jnp.log(jnp.maximum(mass, TINY))
        return jnp.logaddexp(jax.nn.log_sigmoid(-mix) + log_p, copied)

    def _log_mean(self, log_norm: Float[Array, "B T"]) -> Float[Array, "B T"]:
        """Returns what copying adds to the mean of log p over the vocabulary.

        Only tokens of the source gain by it, each once however often it stands there.
        """
        same = self.source[:, :, None] == self.source[:, None]  # B S S
        is_first = ~jnp.any(jnp.tril(same, -1), axis=-1)
        whole = sums(jnp.float32)
        same = same.astype(jnp.float32)
        mass = jnp.einsum("BTK,BSK->BTS", self.attention, same, **whole)
        rows = jnp.take(self.table, self.source, axis=0)
        own = jnp.einsum("BTD,BSD->BTS", self.x.astype(jnp.float32), rows, **whole)
        if self.offset is not None:
            own += jnp.take(self.offset, self.source, axis=0)[:, None]
        gain = jnp.log(jnp.maximum(mass, TINY)) - (own - log_norm[..., None])
        gain = jax.nn.softplus(self.mix[..., None] + gain)
        total = jnp.sum(jnp.where(is_first[:, None], gain, 0.0), axis=-1)
        return jax.nn.log_sigmoid(-self.mix) + total / len(self.table)


class Copying(nn.Module):
    """Attention of one head to the source, and how much is copied.

    Parameters: ``query [D 1 C]``, ``key [M 1 C]``, ``mix [D 1]``, ``mix_bias [1]``.

    Attributes:
        width: Width of the head, C.
        axis: Name of the width of the residual stream.
        memory_axis: Name of the width of the memory.
        dtype: Type of the operands of products.
    """

    width: int
    axis: str = "embed"
    memory_axis: str = "encoder_embed"
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch D"], source: Source, readout: Readout
    ) -> CopyReadout:
        """Returns a readout that copies.

        Args:
            x: The last residual stream, as its last norm leaves it: ``[B T D]``, or one
                or several rows for each row of the source.
            source: What may be copied.
            readout: That of the table.
        """
        query = self._project("query", self.axis, x, x.shape[-1])
        if source.memory is None:
            (key,) = recall(self, "key")
        else:
            memory = source.memory
            key = self._project("key", self.memory_axis, memory, memory.shape[-1])
            if has_cache(self):
                replace(self, key=key[:, :, None].astype(recall(self, "key")[0].dtype))
        key = key.reshape(*key.shape[:2], self.width)
        init = named(nn.initializers.zeros, self.axis, "copies")
        mix = self.param("mix", init, (x.shape[-1], 1), jnp.float32)
        init = named(nn.initializers.constant(-1.0), "copies")
        bias = self.param("mix_bias", init, (1,), jnp.float32)
        mix = product(x, mix, jnp.float32)[..., 0] + bias[0]
        own = {name: getattr(readout, name) for name in ("x", "table", "bias")}
        return CopyReadout(
            **own,
            is_open=readout.is_open,
            dtype=readout.dtype,
            attention=self._attend(query, key, source.segments),
            mix=mix,
            source=source.tokens,
        )

    def _project(self, name: str, axis: str, x: Array, width: int) -> Array:
        init: Any = nn.initializers.lecun_normal(in_axis=0, out_axis=(1, 2))
        init = named(init, axis, "copies", "copy_dim")
        kernel = self.param(name, init, (width, 1, self.width), jnp.float32)
        return product(x, kernel.reshape(width, self.width), self.dtype)

    def _attend(
        self, query: Float[Array, "*batch C"], key: Array, segments: Array | None
    ) -> Float[Array, "*batch S"]:
        """Returns the softmax of scores over the source, 0 for its padding."""
        rows = query.reshape(len(key), -1, self.width)
        operands = rows.astype(self.dtype), key.astype(self.dtype)
        scores = jnp.einsum("BTC,BSC->BTS", *operands, **sums(self.dtype))
        scores *= self.width**-0.5
        if segments is not None:
            scores = jnp.where(segments[:, None] > 0, scores, NEG_INF)
        weights = jax.nn.softmax(scores)
        if segments is not None:
            weights = jnp.where(segments[:, None] > 0, weights, 0.0)
        return weights.reshape(*query.shape[:-1], -1)
