"""A model applied to rows layer by layer, so that only one layer is in use at a time.

Residual streams of all rows lie between the layers. Rows go through a
layer in batches; layers of one shape share their compiled programs. Towers come one
after the other: the last stream of an encoder is the memory of its decoder.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from slimjax.compress.losses import check_head
from slimjax.compress.rows import OF_MEMORY, Rows, Streams
from slimjax.compress.sums import at_rest
from slimjax.errors import ConfigError
from slimjax.models.config import ModelConfig
from slimjax.models.context import Context
from slimjax.models.layer import Layer
from slimjax.models.layer_config import LayerConfig
from slimjax.models.paths import layer_name, layer_of
from slimjax.models.tower_config import Compute, TowerConfig
from slimjax.nn.moments import INPUTS, SLOPES
from slimjax.trees import Path, flatten

WRITERS = {"attention": "out", "recurrent": "out", "cross": "out", "mlp": "down"}
"""The weight of each sublayer that writes to the residual stream."""


SHARES = {"key": "query", "value": "query", "gate": "up"}
"""Weights that read what another one of their sublayer reads."""

READS = ("tokens", "characters")
"""Stems of towers that are gone through."""

SUBLAYERS = ("attention", "cross", "mlp")
"""Sublayers in the order in which a layer applies them."""


class Place(NamedTuple):
    """A layer of a model.

    Attributes:
        tower: Name of its tower, empty for the main one.
        number: Its number in the tower.
    """

    tower: str
    number: int

    @property
    def path(self) -> Path:
        """The path of its variables."""
        own = layer_name(self.number)
        return (self.tower, own) if self.tower else (own,)


def check_walkable(model: ModelConfig) -> None:
    """Raises `ConfigError` for a model that cannot be walked through."""
    remedy = "Slim this one with slimjax train and config.model.init_from."
    towers, head = model.towers, model.heads[0]
    has_others = any(
        t.stem not in READS or not t.layers or t.name not in ("", model.main.memory)
        for t in towers
    )
    if has_others or not model.layers or head.tower or len(model.heads) > 1:
        raise ConfigError(
            "slimjax compress takes decoders, encoders and encoder-decoders of text "
            f"with one head. {remedy}"
        )
    check_head(head)
    if head.copy_dim:
        raise ConfigError(
            f"slimjax compress does not take heads that copy from the source. {remedy}"
        )
    if any(layer.adapters for tower in towers for layer in tower.layers):
        raise ConfigError(
            f"slimjax compress does not take models with adapters of domains. {remedy}"
        )
    for tower in towers:
        if tower.style.cell:
            raise ConfigError(
                f"slimjax compress does not take recurrent layers ({tower.style.cell})"
                f". {remedy}"
            )


class Walk:
    """Applies a model layer by layer.

    Attributes:
        model: The model.
        compute: How it computes.
    """

    def __init__(self, model: ModelConfig):
        """Compiles nothing yet.

        Raises:
            ConfigError: If the model is of another kind.
        """
        check_walkable(model)
        self.model = model
        self.compute = dataclasses.replace(model.compute, remat="none", dropout=0.0)

    @property
    def towers(self) -> tuple[TowerConfig, ...]:
        """The towers, each after those that it reads."""
        return self.model.towers

    def places(self, tower: str = "") -> list[Place]:
        """Returns the layers of a tower, in order."""
        return [Place(tower, i) for i in range(len(self.model.by_name[tower].layers))]

    @property
    def num_layers(self) -> int:
        """Layers of all towers."""
        return sum(len(tower.layers) for tower in self.towers)

    def begin(
        self,
        variables: PyTree,
        rows: Rows,
        tower: str = "",
        ends: Mapping[str, Streams] | None = None,
    ) -> Streams:
        """Returns the residual stream of a tower before its first layer.

        Args:
            variables: Those of the model.
            rows: What it reads.
            tower: Name of the tower.
            ends: The last streams of those before it, by name.
        """
        network, values, contexts = self.model.module(), [], []
        outside, reads = outside_of_layers(variables), self.model.by_name[tower].memory
        start = jax.jit(
            lambda v, x, memory: network.apply(v, x, tower, memory, method="begin")
        )
        for i, batch in enumerate(rows.batches()):
            memory = None if reads is None else (ends or {})[reads].values[i]
            x, context = start(outside, dict(batch.inputs), memory)
            values.append(at_rest(x.astype(jnp.float32)))
            contexts.append(context)
        return Streams(values, contexts)

    def memory_slopes(
        self, variables: PyTree, batch: Rows, tower: str, x: Any, slopes: Any
    ) -> np.ndarray:
        """Returns the gradient of a stream from that of the memory made of it.

        Args:
            variables: Those of the model.
            batch: What it reads.
            tower: The tower that reads the memory.
            x: The last stream of the one that it is made of.
            slopes: The gradient of the memory.
        """
        network, outside = self.model.module(), outside_of_layers(variables)
        inputs = {name: jnp.asarray(read) for name, read in batch.inputs.items()}

        def memory(x: Array) -> Array:
            _, context = network.apply(outside, inputs, tower, x, method="begin")
            return context.memory

        return np.asarray(jax.vjp(memory, jnp.asarray(x))[1](jnp.asarray(slopes))[0])

    def shape(self, place: Place) -> LayerConfig:
        """Returns the shape of a layer."""
        return self.model.by_name[place.tower].layers[place.number]

    def sublayers(self, place: Place) -> tuple[str, ...]:
        """Returns the names of the sublayers that a layer has, in order."""
        return tuple(name for name in SUBLAYERS if getattr(self.shape(place), name))

    def layer(self, variables: PyTree, place: Place) -> PyTree:
        """Returns the variables of a layer, on the device."""
        own = {kind: inside(tree, place.path) for kind, tree in variables.items()}
        return jax.tree.map(jnp.asarray, own)

    def _parts(self, place: Place) -> tuple[LayerConfig, TowerConfig, Compute, str]:
        tower = self.model.by_name[place.tower]
        axis = "" if tower.memory is None else self.model.by_name[tower.memory].axis
        plain = dataclasses.replace(tower, layers=())
        return self.shape(place), plain, self.compute, axis

    def reader(self, place: Place, only: str = "") -> Callable:
        """Returns the function (variables, x, context) -> (x after it, inputs).

        Inputs are those of products, by path within the layer; those that are not used
        are not computed.
        """
        return reader_of(*self._parts(place), only)

    def slopes_reader(self, place: Place) -> Callable:
        """Returns the function that goes through a layer backwards."""
        return slopes_reader_of(*self._parts(place))

    @property
    def adds(self) -> bool:
        """Whether sublayers add to the stream and no norm stands behind them."""
        return self.model.main.style.norm_at == "input"


def inside(tree: Mapping[str, Any], path: Path) -> Any:
    """Returns what stands at a path of a nested dict; {} for nothing."""
    for name in path:
        tree = tree.get(name, {})
    return tree


def outside_of_layers(variables: PyTree) -> PyTree:
    """Returns the variables that stand outside of layers."""

    def keep(tree: Mapping[str, Any], prefix: Path) -> dict[str, Any]:
        kept = {}
        for name, own in tree.items():
            path = (*prefix, name)
            if layer_of(path).number is None:
                is_tree = isinstance(own, Mapping) and len(path) < 2
                kept[name] = keep(own, path) if is_tree else own
        return kept

    return {kind: keep(tree, ()) for kind, tree in variables.items()}


@functools.lru_cache(maxsize=256)
def reader_of(
    shape: LayerConfig, tower: TowerConfig, compute: Compute, axis: str, only: str
) -> Callable:
    """Returns what `Walk.reader` does, the same for the same arguments."""
    layer = Layer(shape, tower, compute, axis, parent=None)

    def read(variables: PyTree, x: Array, context: Context) -> tuple[Array, dict]:
        x, found = layer.apply(variables, x, context, only, mutable=[INPUTS])
        return x, flatten(dict(found.get(INPUTS) or {}))

    return read


@functools.lru_cache(maxsize=256)
def slopes_reader_of(
    shape: LayerConfig, tower: TowerConfig, compute: Compute, axis: str
) -> Callable:
    """Returns (variables, x, context, slope) -> (slope, slope of memory, slopes).

    It goes through a layer backwards: from the gradient of the stream after it to that
    before it, that of the memory, if there is one, and those of what each product
    wrote, by path within the layer.
    """
    layer = Layer(shape, tower, compute, axis, parent=None)

    def read(variables: PyTree, x: Array, context: Context, slope: Array):
        make = lambda: layer.apply(variables, x, context, mutable=[SLOPES])[1]
        zeros = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(make)
        )

        def apply(x: Array, memory: Array | None, zeros: PyTree) -> Array:
            own = dataclasses.replace(context, memory=memory)
            return layer.apply({**variables, **zeros}, x, own)  # pyright: ignore

        backward = jax.vjp(apply, x, context.memory, zeros)[1]
        slope, of_memory, found = backward(slope)
        return slope, of_memory, flatten(dict(found or {}).get(SLOPES, {}))

    return read


def source_of(path: Path, known: Mapping[Path, Any]) -> Path:
    """Returns the weight under whose name the input of a weight stands.

    Examples:
        >>> source_of(("mlp", "gate"), {("mlp", "up"): 0})
        ('mlp', 'up')
    """
    if path in known:
        return path
    other = (*path[:-1], SHARES.get(path[-1], path[-1]))
    if path[-2:] in OF_MEMORY:
        other = (*path[:-1], "key")
    return other
