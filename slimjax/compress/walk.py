"""A model applied to rows layer by layer, so that only one layer is in use at a time.

Residual streams of all rows lie between the layers. Rows go through a
layer in batches; layers of one shape share their compiled programs.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

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

BATCH_TOKENS = 4096
"""Positions that go through a layer at a time."""

WRITERS = {"attention": "out", "recurrent": "out", "mlp": "down"}
"""The weight of each sublayer that writes to the residual stream."""


SHARES = {"key": "query", "value": "query", "gate": "up"}
"""Weights that read what another one of their sublayer reads."""


class Rows(NamedTuple):
    """Text as a model reads it.

    Attributes:
        inputs: Arrays ``[R ...]`` by the names that the model reads.
        targets: What is to be answered, int32 ``[R T]``, or ``[R]``.
        weights: 1 for what counts, in the shape of the targets.
    """

    inputs: Mapping[str, np.ndarray]
    targets: np.ndarray
    weights: np.ndarray

    @property
    def num_rows(self) -> int:
        """Number of rows, R."""
        return len(self.targets)

    @property
    def length(self) -> int:
        """Positions of a row, T."""
        return next(iter(self.inputs.values())).shape[1]

    @property
    def num_targets(self) -> float:
        """Number of targets that count."""
        return float(self.weights.sum())

    def spread(self, num_rows: int) -> np.ndarray:
        """Returns numbers of rows that are spread evenly over these."""
        chosen = np.linspace(0, self.num_rows - 1, min(num_rows, self.num_rows))
        return np.unique(chosen.round().astype(int))

    def at(self, rows: Any) -> "Rows":
        """Returns some rows, by their numbers or as a slice."""
        inputs = {name: values[rows] for name, values in self.inputs.items()}
        return Rows(inputs, self.targets[rows], self.weights[rows])

    def batches(self, num_rows: int = 0) -> Iterator["Rows"]:
        """Yields these rows in batches of about `BATCH_TOKENS` positions."""
        size = num_rows or max(1, BATCH_TOKENS // self.length)
        for start in range(0, self.num_rows, size):
            yield self.at(slice(start, start + size))


class Text(NamedTuple):
    """Rows, and the raw bytes that their targets stand for; 0 where they are none."""

    rows: Rows
    num_bytes: float = 0.0


class Streams(NamedTuple):
    """The residual stream of all rows at one place, in batches.

    Attributes:
        values: float32 ``[B T D]`` of each batch; see `at_rest`.
        contexts: What layers are given beside it.
    """

    values: list[np.ndarray]
    contexts: list[Context]

    def mask(self, i: int) -> Float[np.ndarray, "B T"]:
        """Returns 1 for the positions of a batch that are no padding."""
        segments = self.contexts[i].segments
        if segments is None:
            return np.ones(self.values[i].shape[:2], np.float32)
        return (np.asarray(segments) > 0).astype(np.float32)

    @property
    def num_positions(self) -> float:
        """Number of positions that are no padding."""
        return float(sum(self.mask(i).sum() for i in range(len(self.values))))

    def rows(self, numbers: np.ndarray) -> Float[np.ndarray, "R T D"]:
        """Returns the stream of some rows."""
        starts = np.cumsum([0, *map(len, self.values)])
        batches = np.searchsorted(starts, numbers, side="right") - 1
        pairs = zip(batches, numbers - starts[batches], strict=True)
        return np.stack([np.asarray(self.values[b][row]) for b, row in pairs])

    def with_rows(self, rows: Float[np.ndarray, "R T D"]) -> "Streams":
        """Returns streams of as many rows with other values."""
        ends = np.cumsum([len(values) for values in self.values])[:-1]
        return Streams(np.split(rows, ends), self.contexts)


def check_walkable(model: ModelConfig) -> None:
    """Raises `ConfigError` for a model that is not one tower with layers."""
    if len(model.towers) > 1 or not model.layers or model.main.reads_numbers:
        raise ConfigError(
            "slimjax compress takes models of one tower that read tokens. Slim this "
            "one with slimjax train and config.model.init_from."
        )
    if model.main.style.cell:
        raise ConfigError(
            f"slimjax compress does not take recurrent layers ({model.main.style.cell})"
            ". Slim this model with slimjax train and config.model.init_from."
        )


class Walk:
    """Applies a model of one tower.

    Attributes:
        model: The model.
    """

    def __init__(self, model: ModelConfig):
        """Compiles nothing yet.

        Raises:
            ConfigError: If the model is not of one tower.
        """
        check_walkable(model)
        self.model = model
        self.tower = dataclasses.replace(model.main, layers=())
        self.compute = dataclasses.replace(model.compute, remat="none", dropout=0.0)

    def begin(self, variables: PyTree, rows: Rows) -> Streams:
        """Returns the residual stream before the first layer."""
        network, values, contexts = self.model.module(), [], []
        outside = outside_of_layers(variables)
        start = jax.jit(lambda v, x: network.apply(v, x, method="begin"))
        for batch in rows.batches():
            x, context = start(outside, dict(batch.inputs))
            values.append(at_rest(x.astype(jnp.float32)))
            contexts.append(context)
        return Streams(values, contexts)

    def shape(self, number: int) -> LayerConfig:
        """Returns the shape of a layer."""
        return self.model.layers[number]

    def sublayers(self, number: int) -> tuple[str, ...]:
        """Returns the names of the sublayers that a layer has, in order."""
        return tuple(n for n in ("attention", "mlp") if getattr(self.shape(number), n))

    def layer(self, variables: PyTree, number: int) -> PyTree:
        """Returns the variables of a layer, on the device."""
        name = layer_name(number)
        own = {kind: tree.get(name, {}) for kind, tree in variables.items()}
        return jax.tree.map(jnp.asarray, own)

    def reader(self, number: int, only: str = "") -> Callable:
        """Returns the function (variables, x, context) -> (x after it, inputs).

        Inputs are those of products, by path within the layer; those that are not used
        are not computed.
        """
        return reader_of(self.shape(number), self.tower, self.compute, only)

    @property
    def adds(self) -> bool:
        """Whether sublayers add to the stream and no norm stands behind them."""
        return self.tower.style.norm_at == "input"


def outside_of_layers(variables: PyTree) -> PyTree:
    """Returns the variables that stand outside of the main tower's layers."""
    is_outside = lambda name: layer_of((name,)).number is None
    keep = lambda tree: {k: v for k, v in tree.items() if is_outside(k)}
    return {kind: keep(tree) for kind, tree in variables.items()}


@functools.lru_cache(maxsize=256)
def reader_of(
    shape: LayerConfig, tower: TowerConfig, compute: Compute, only: str
) -> Callable:
    """Returns what `Walk.reader` does, the same for the same arguments."""
    layer = Layer(shape, tower, compute, parent=None)

    def read(variables: PyTree, x: Array, context: Context) -> tuple[Array, dict]:
        x, found = layer.apply(variables, x, context, only, mutable=[INPUTS])
        return x, flatten(dict(found.get(INPUTS) or {}))

    return read


@functools.lru_cache(maxsize=256)
def slopes_reader_of(shape: LayerConfig, tower: TowerConfig, compute: Compute):
    """Returns the function (variables, x, context, slope) -> (slope, slopes).

    It goes through a layer backwards: from the gradient of the stream after it to that
    before it, and those of what each product wrote, by path within the layer.
    """
    layer = Layer(shape, tower, compute, parent=None)

    def read(variables: PyTree, x: Array, context: Context, slope: Array):
        make = lambda: layer.apply(variables, x, context, mutable=[SLOPES])[1]
        zeros = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(make)
        )

        def apply(x: Array, zeros: PyTree) -> Array:
            return layer.apply({**variables, **zeros}, x, context)  # pyright: ignore

        slope, found = jax.vjp(apply, x, zeros)[1](slope)
        return slope, flatten(dict(found or {}).get(SLOPES, {}))

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
    if path[-1] == "value" and (*path[:-1], "key") in known:
        other = (*path[:-1], "key")
    return other
