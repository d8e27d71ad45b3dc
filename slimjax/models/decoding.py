"""A model of any kind that writes token after token, with a cache for what it has read.

It runs the layers it was trained with, so it computes what a whole forward pass
computes: all norms, biases, kinds of positions, windows, recurrent cells,
cross-attention and copying. `slimjax.models.cached` has a faster way for one kind.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree

from slimjax.errors import ConfigError
from slimjax.models.adapters import DOMAIN
from slimjax.models.config import ModelConfig
from slimjax.models.layer_config import LayerConfig
from slimjax.models.paths import layer_name
from slimjax.models.reading import count_here, join_segments
from slimjax.nn.axes import to_host
from slimjax.nn.cache import CACHE, empty_cache
from slimjax.nn.copying import Source
from slimjax.nn.implementations import STATES

Inputs = Mapping[str, Array]

WEIGHTS = ("float32", "bfloat16")
"""Types of operands that any model can write with."""


@struct.dataclass
class DecodingCache:
    """What rows have read.

    Attributes:
        layers: Keys, values and states of the main tower's layers, under their paths.
        memory_segments: Segments of what cross-attention reads, ``[B S]``, or None.
        source: Tokens of what cross-attention reads, ``[B S]``, or None.
        domains: Number of the domain of each row, ``[B]``, or None.
    """

    layers: PyTree
    memory_segments: PyTree = None
    source: PyTree = None
    domains: PyTree = None

    def of_rows(self, rows: Int[Array, " R"]) -> "DecodingCache":
        """Returns the cache of rows that go on from other rows.

        What stands in the cache of cross-attention is that of a whole row of the
        source: it is shared, and stays where it is.

        Args:
            rows: For each row that is to be, the row it goes on from.
        """

        def pick(path: tuple, leaf: Array) -> Array:
            is_shared = any(getattr(key, "key", "") in SHARED for key in path)
            return leaf if is_shared else jnp.take(leaf, rows, axis=0)

        picked = jax.tree_util.tree_map_with_path(pick, self.layers)
        domains = None if self.domains is None else jnp.take(self.domains, rows)
        return dataclasses.replace(self, layers=picked, domains=domains)


SHARED = ("cross", "copying")
"""Modules whose caches hold the source."""


@struct.dataclass
class DecodingModel:
    """A model with a cache; see `slimjax.models.cached.FrozenDecoder` for the calls.

    Attributes:
        params: Its weights.
        gates: Its gates; None when all are open.
        config: The shape.
        weights: Type of the operands of products, float32 or bfloat16.
    """

    params: PyTree
    gates: PyTree
    config: ModelConfig = struct.field(pytree_node=False)
    weights: str = struct.field(pytree_node=False)

    @property
    def most_positions(self) -> int:
        """Most positions of a text, where they stand in a table; 0 for any number."""
        return self.config.main.num_positions

    def __call__(
        self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"], cache: Any
    ) -> tuple[Float[Array, "B T D"], DecodingCache]:
        """Returns what the head reads at the next positions, and the next cache.

        Args:
            tokens: The next tokens of each row.
            positions: Where they stand, consecutive in each row; below 0 for padding at
                the end of a row, which leaves no trace.
            cache: What the rows have read before.
        """
        reads, is_there = self.config.main.reads, positions >= 0
        positions = jnp.maximum(positions, 0)
        inputs = {reads: tokens, f"{reads}_segments": is_there.astype(jnp.int32)}
        inputs |= {} if cache.domains is None else {DOMAIN: cache.domains}
        x, changed = self._network.apply(
            self._variables | {CACHE: cache.layers},
            *(inputs, positions, cache.memory_segments),
            method="advance",
            mutable=[CACHE],
        )
        return x, dataclasses.replace(cache, layers=dict(changed[CACHE]))

    def logits(
        self, x: Float[Array, "*batch D"], cache: Any = None
    ) -> Float[Array, "*batch V"]:
        """Returns the scores of the token that follows."""
        if not self.config.heads[0].copy_dim or cache is None:
            readout: Any = self._network.apply(self._variables, x, method="answer")
            return readout.logits()
        source = Source(cache.source, segments=cache.memory_segments)
        variables = self._variables | {CACHE: cache.layers}
        readout, _ = self._network.apply(
            variables, x, source, method="answer", mutable=[CACHE]
        )
        return readout.logits()

    def make_cache(self, batch_size: int, length: int) -> DecodingCache:
        """Returns an empty cache of a model that reads nothing beside its own text.

        Raises:
            ConfigError: If it reads a source.
        """
        if self.config.main.memory is not None:
            raise ConfigError(
                "A model of config.model.kind='encoder_decoder' writes for a source, "
                "and there is none. Use slimjax predict."
            )
        return DecodingCache(make_layers_cache(self._shape, batch_size, length))

    def remember(self, source: Inputs, length: int) -> DecodingCache:
        """Returns the cache of rows that have read a source, and nothing else yet.

        Args:
            source: Inputs of the other towers, rows first, and maybe the domain of each
                row.
            length: Longest text that can be written.
        """
        main, towers = self.config.main, self.config.by_name
        batch_size, domains = next(iter(source.values())).shape[0], source.get(DOMAIN)
        if main.memory is None:  # It reads its own text alone.
            cache = self.make_cache(batch_size, length)
            return dataclasses.replace(cache, domains=domains)
        source_length = count_here(main.memory or "", towers, source)
        empty = make_layers_cache(self._shape, batch_size, length, source_length)
        # One token is enough to have keys and values of the source made. What it leaves
        # in other caches is thrown away.
        inputs = {**source, main.reads: jnp.zeros((batch_size, 1), jnp.int32)}
        _, changed = self._network.apply(
            self._variables | {CACHE: empty}, inputs, mutable=[CACHE]
        )

        def take(path: tuple, before: Array, after: Array) -> Array:
            is_source = any(getattr(key, "key", "") in SHARED for key in path)
            return after if is_source else before

        filled = dict(changed[CACHE])
        return DecodingCache(
            jax.tree_util.tree_map_with_path(take, empty, filled),
            join_segments(main.memory or "", towers, source),
            source.get(towers[main.memory or ""].reads),
            domains,
        )

    @property
    def _shape(self) -> ModelConfig:
        return dataclasses.replace(self.config, dtype=self.weights)

    @property
    def _network(self) -> Any:
        return self._shape.module()

    @property
    def _variables(self) -> dict[str, PyTree]:
        gates = self.gates
        if gates is None:  # Constants, which the compiler removes.
            shapes = self.config.abstract_gates()
            gates = jax.tree.map(lambda gate: np.ones(gate.shape, np.float32), shapes)
        return {"params": self.params, "gates": gates}


def is_known(tree: PyTree) -> bool:
    """Whether all arrays of a tree have numbers, and are not those of a trace."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def make_layers_cache(
    config: ModelConfig, batch_size: int, length: int, source_length: int = 0
) -> dict[str, Any]:
    """Returns empty caches of the layers of the main tower, under their paths."""

    def of_layer(layer: LayerConfig) -> dict[str, Any]:
        own: dict[str, Any] = {}
        if layer.attention:
            shape = batch_size, length, layer.num_kv_heads, layer.head_dim
            own["attention"] = dict(vars(empty_cache(*shape, config.dtype)))
        if layer.recurrent:
            state = jnp.zeros((batch_size, 1, layer.state_dim), jnp.float32)
            names = STATES[config.main.style.cell]
            own["recurrent"] = {name: state for name in names}
        if layer.cross:
            shape = batch_size, source_length, layer.cross_kv_heads, layer.head_dim
            own["cross"] = dict(vars(empty_cache(*shape, config.dtype)))
        return own

    caches = {layer_name(i): of_layer(layer) for i, layer in enumerate(config.layers)}
    for head in config.heads:
        if head.copy_dim:
            shape = batch_size, source_length, 1, head.copy_dim
            caches[head.module] = {"copying": {"key": jnp.zeros(shape, config.dtype)}}
    return {name: own for name, own in caches.items() if own}


def can_decode(config: ModelConfig) -> bool:
    """Whether a model writes token after token."""
    main, head = config.main, config.heads[0]
    return (
        main.stem == "tokens"
        and not main.sees_all
        and (head.tower, head.at, head.answers) == ("", "each", main.num_inputs)
    )


def make_decoding_model(
    config: ModelConfig, variables: PyTree, weights: str
) -> DecodingModel:
    """Returns a model with a cache.

    Args:
        config: The shape.
        variables: ``{"params": ..., "gates": ...}``, which stay where they lie.
        weights: One of `WEIGHTS`.
    """
    gates: PyTree = variables["gates"]
    if is_known(gates) and all((g == 1).all() for g in jax.tree.leaves(to_host(gates))):
        gates = None
    params, gates = jax.tree.map(jnp.asarray, (variables["params"], gates))
    return DecodingModel(params, gates, config, weights)
