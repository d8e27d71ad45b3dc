"""The layers of a decoder as they generate: weights that are only read, and a cache.

They compute what `Attention`, `MLP` and `TiedEmbedding` compute. Gates are folded
in, what reads the same input is one matrix, and for one token a row each sublayer is
one kernel, where there are kernels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, PyTree

from slimjax.native import decode_calls
from slimjax.nn.attention_kernels import attend
from slimjax.nn.cache import LayerCache, write
from slimjax.nn.frozen import Frozen, frozen_columns, frozen_product
from slimjax.nn.gates import SUBLAYER, nest, write_gates
from slimjax.nn.norm import rms_norm
from slimjax.nn.positions import RopeScaling, rotate, rotation_table

WOVEN = 16
"""Columns of gate, then of up, that stand side by side."""

Freeze = Callable[[Array], Frozen]
"""`slimjax.nn.frozen.freeze`, to some format."""


def norm_of_open(
    scale: Float[Array, " D"], channels: Float[Array, " D"]
) -> Float[Array, " D"]:
    """Returns the scale of a mean over all channels for one over the open ones.

    Closed channels are 0, so only the count differs; and that of epsilon, by 1e-6.
    """
    return scale * jnp.sqrt(jnp.mean((channels > 0).astype(jnp.float32)))


@struct.dataclass
class FrozenAttention:
    """Attention to a cache, added to the residual stream.

    Attributes:
        norm: Scale of the normalisation before it, ``[D]``.
        reading: Weights of query, key and value side by side, ``[D, (N + 2 K) H]``.
        writing: Weights of the output, ``[N H, D]``, times the gates.
        num_heads: Query heads, N.
        rope_base: Base of the rotary angles.
        rope_scaling: How they are slowed down.
        epsilon: That of the norm.
    """

    norm: PyTree
    reading: Frozen
    writing: Frozen
    num_heads: int = struct.field(pytree_node=False)
    rope_base: float = struct.field(pytree_node=False)
    rope_scaling: RopeScaling | None = struct.field(pytree_node=False)
    epsilon: float = struct.field(pytree_node=False)

    def __call__(
        self, x: Float[Array, "B T D"], positions: Int[Array, "B T"], cache: LayerCache
    ) -> tuple[Float[Array, "B T D"], LayerCache]:
        """Returns the residual stream after attention, and the next cache.

        Positions are consecutive in each row; a token sees all that stands in the
        cache at its own position or before.
        """
        num_kv_heads, head_dim = cache.key.shape[2:]
        turn = head_dim, self.rope_base, self.rope_scaling
        table = rotation_table(positions, *turn)
        if x.shape[1] == 1 and self.reading.is_in_panels:
            return self._step(x, table, positions, cache)
        heads = frozen_product(rms_norm(x, self.norm, self.epsilon), self.reading)
        heads = heads.reshape(*x.shape[:2], -1, head_dim)
        ends = self.num_heads, self.num_heads + num_kv_heads
        query, key, value = jnp.split(heads, ends, axis=2)
        cache = write(cache, rotate(key, table), value, positions)
        mixed = attend(
            rotate(query, table),
            cache.key,
            cache.value,
            query_positions=positions,
            dtype=cache.key.dtype,
            impl="auto" if x.shape[1] > 1 else "reference",
        )
        return x + frozen_product(mixed.reshape(*x.shape[:2], -1), self.writing), cache

    def _step(
        self, x: Array, table: tuple[Array, Array], positions: Array, cache: LayerCache
    ) -> tuple[Float[Array, "B 1 D"], LayerCache]:
        """Does the same for one token a row in one kernel."""
        out, key, value = decode_calls.attention_step(
            *(x.squeeze(1), self.norm),
            *(self.reading.data, self.reading.scale),
            *(self.writing.data, self.writing.scale),
            *(angle.squeeze((1, 2)) for angle in table),
            *(positions.squeeze(1), cache.key, cache.value),
            num_heads=self.num_heads,
            epsilon=self.epsilon,
        )
        return out[:, None], LayerCache(key, value)


def freeze_attention(
    params: Mapping[str, Any],
    gates: Mapping[str, Any],
    channels: Float[Array, " D"],
    turning: tuple[float, RopeScaling | None],
    epsilon: float,
    freeze: Freeze,
) -> FrozenAttention:
    """Makes it from the variables of an `Attention`.

    Args:
        params: Its weights.
        gates: Its gates.
        channels: Gates of the residual stream.
        turning: Base of the rotary angles, and how they are slowed down.
        epsilon: That of the norm.
        freeze: Brings a matrix into its format.
    """
    width, num_heads, _ = params["query"].shape
    reading = [params[name].reshape(width, -1) for name in ("query", "key", "value")]
    heads = nest(gates["heads"], gates["kv_heads"], num_heads) * gates[SUBLAYER]
    writing = write_gates(params["out"], heads[:, None, None], channels)
    return FrozenAttention(
        norm_of_open(params["norm"]["scale"], channels),
        freeze(jnp.concatenate(reading, axis=1)),
        freeze(writing.reshape(-1, width)),
        num_heads,
        *turning,
        epsilon,
    )


@struct.dataclass
class FrozenMLP:
    """The gated MLP, added to the residual stream.

    Attributes:
        norm: Scale of the normalisation before it, ``[D]``.
        reading: Weights of gate and up, in turn 16 columns of each, ``[D, 2 F]``.
        writing: Weights of the output, ``[F, D]``, times the gates.
        epsilon: That of the norm.
    """

    norm: PyTree
    reading: Frozen
    writing: Frozen
    epsilon: float = struct.field(pytree_node=False)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Returns the residual stream after the MLP."""
        if self.reading.is_in_panels:
            out = decode_calls.mlp_step(
                *(x.reshape(-1, x.shape[-1]), self.norm),
                *(self.reading.data, self.reading.scale),
                *(self.writing.data, self.writing.scale),
                epsilon=self.epsilon,
            )
            return out.reshape(x.shape)
        both = frozen_product(rms_norm(x, self.norm, self.epsilon), self.reading)
        gate, up = jnp.moveaxis(both.reshape(*x.shape[:2], -1, 2, WOVEN), 3, 0)
        hidden = (jax.nn.silu(gate) * up).reshape(*x.shape[:2], -1)
        return x + frozen_product(hidden, self.writing)


def freeze_mlp(
    params: Mapping[str, Any],
    gates: Mapping[str, Any],
    channels: Float[Array, " D"],
    epsilon: float,
    freeze: Freeze,
) -> FrozenMLP:
    """Makes it from the variables of an `MLP`, with hidden units up to 16 n."""
    units = gates["mlp"] * gates[SUBLAYER]
    missing = -len(units) % WOVEN
    pair = [
        jnp.pad(params[name], ((0, 0), (0, missing))).reshape(-1, 1, WOVEN)
        for name in ("gate", "up")
    ]
    reading = jnp.concatenate(pair, axis=1).reshape(params["gate"].shape[0], -1)
    writing = write_gates(params["down"], units[:, None], channels)
    writing = jnp.pad(writing, ((0, missing), (0, 0)))
    return FrozenMLP(
        norm_of_open(params["norm"]["scale"], channels),
        freeze(reading),
        freeze(writing),
        epsilon,
    )


@struct.dataclass
class FrozenEmbedding:
    """The table of tokens, ``[D, V]``, both ways."""

    table: Frozen

    def __call__(self, tokens: Int[Array, "B T"], width: int) -> Float[Array, "B T D"]:
        """Returns the vectors of tokens, not yet scaled."""
        return frozen_columns(self.table, tokens, width)

    def logits(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch V"]:
        """Returns the score of every token of the vocabulary, float32."""
        return frozen_product(x, self.table)
