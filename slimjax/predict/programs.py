"""What is compiled to answer: a model's forward pass, with weights of one format."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, PyTree

from slimjax.errors import ConfigError, suggest
from slimjax.models.config import ModelConfig
from slimjax.models.tower_config import TowerConfig
from slimjax.nn.frozen import FORMATS, quantize_rows
from slimjax.nn.quantize import bit_axis, from_rows, is_matrix, to_rows
from slimjax.tasks.base import Task
from slimjax.tasks.inputs import read_row
from slimjax.trees import axis_names, flatten, unflatten

Kept = dict[str, Array]
Batch = Mapping[str, Any]


@struct.dataclass
class Int8:
    """A matrix as int8, with a scale for each unit along an axis.

    Attributes:
        numbers: Int8 ``[U E]``.
        scale: Float32 ``[U]``.
        axis: The axis of the units; None for one unit.
        shape: Shape of the matrix.
    """

    numbers: PyTree
    scale: PyTree
    axis: int | None = struct.field(pytree_node=False)
    shape: tuple[int, ...] = struct.field(pytree_node=False)

    def unpack(self) -> Array:
        """Returns the matrix, float32."""
        rows = self.numbers.astype(jnp.float32) * self.scale[:, None]
        return from_rows(rows, self.axis, self.shape)


class Compiled:
    """A function of (variables, batch) with its variables; a shape is compiled once."""

    def __init__(self, fn: Callable[[PyTree, Batch], Any], variables: PyTree):
        """Compiles nothing yet."""
        self._fn, self._variables = jax.jit(fn), variables

    def __call__(self, batch: Batch) -> Any:
        """Returns what the function returns, which may not be computed yet."""
        return self._fn(self._variables, batch)

    def shapes(self, batch: Batch) -> Any:
        """Returns the shapes of that, and computes nothing."""
        return jax.eval_shape(self._fn, self._variables, batch)


class Programs:
    """The compiled functions of a model; each shape of a batch is compiled once.

    Attributes:
        config: The model's shape, and how it computes.
        weights: Format of its weights.
    """

    def __init__(
        self, config: ModelConfig, variables: PyTree, task: Task, weights: str = ""
    ):
        """Prepares the weights, and compiles nothing yet.

        Args:
            config: The shape.
            variables: ``{"params": weights, "gates": gates}``.
            task: Says what is read and kept.
            weights: float32, bfloat16 or int8 (a scale for each unit; matrices become
                numbers of the model's dtype on the fly); by default they stay as they
                are.

        Raises:
            ConfigError: If there is no such format.
        """
        check_weights(weights)
        dtype = config.dtype if weights in ("", "int8") else weights
        self.config = dataclasses.replace(config, dtype=dtype)
        self.weights, self._task = weights, task
        names = flatten(axis_names(config.abstract_variables())["params"])
        to_format = partial(_to_format, weights=weights or "float32")
        own = flatten(variables["params"])
        params = {path: to_format(leaf, names[path]) for path, leaf in own.items()}
        self._variables = {"params": unflatten(params), "gates": variables["gates"]}
        self._vectors: dict[str, Compiled] = {}
        self._open = _shapes_of_open(variables["gates"])
        if self._open is not None:
            self._variables["gates"] = {}

    @cached_property
    def predict(self) -> Compiled:
        """From a batch to what `Task.predict` keeps of each row."""
        network, task = self.config.module(), self._task
        assert task.predict is not None
        keep = task.predict

        def predict_batch(variables: PyTree, batch: Batch) -> Kept:
            readouts = network.apply(self._whole(variables), task.inputs(batch, None))
            return keep(readouts, batch)

        return Compiled(predict_batch, self._variables)

    def vectors(self, pool: str, special: Mapping[str, int]) -> Compiled:
        """Returns the function from a batch to ``x [B D]``, vectors of length 1.

        A task that answers says what is read. Others may shift or hide tokens, so of
        these the whole row is read, by the encoder if there is one.
        """
        if pool not in self._vectors:
            self._vectors[pool] = self._embed(pool, special)
        return self._vectors[pool]

    def _embed(self, pool: str, special: Mapping[str, int]) -> Compiled:
        network, task = self.config.module(), self._task
        reader = self.config.reader

        def embed_batch(variables: PyTree, batch: Batch) -> Kept:
            if task.answer is not None:
                inputs = _with_segments(task.inputs(batch, None), special)
            else:
                inputs = _read_whole(batch, special, reader)
            whole = self._whole(variables)
            x: Any = network.apply(whole, inputs, pool, method="vectors")
            norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
            return {"x": x / jnp.maximum(norm, 1e-12)}

        return Compiled(embed_batch, self._variables)

    def _whole(self, variables: PyTree) -> PyTree:
        """Returns plain weights and gates, inside of a compiled function.

        Open gates are constants there, so the compiler drops them.
        """
        is_int8 = lambda leaf: isinstance(leaf, Int8)
        unpack = lambda leaf: leaf.unpack() if is_int8(leaf) else leaf
        params = jax.tree.map(unpack, variables["params"], is_leaf=is_int8)
        if self._open is None:
            return {**variables, "params": params}
        return {"params": params, "gates": jax.tree.map(jnp.ones, self._open)}


def _read_whole(batch: Batch, special: Mapping[str, int], tower: TowerConfig) -> Batch:
    """Returns the row of a text as a tower reads it, up to its last position."""
    row, most = read_row(batch, special), tower.num_positions or None
    return {n.replace("tokens", tower.reads, 1): x[:, :most] for n, x in row.items()}


def _with_segments(inputs: Batch, special: Mapping[str, int]) -> Batch:
    """Returns inputs that also say which tokens are padding, which none may pool."""
    if "tokens" not in inputs or "tokens_segments" in inputs:
        return inputs
    is_text = inputs["tokens"] != special["pad"]
    return {**inputs, "tokens_segments": is_text.astype(jnp.int32)}


def check_weights(weights: str) -> None:
    """Refuses formats that do not exist; "" is the one that the model has.

    Raises:
        ConfigError: With the nearest name.
    """
    if weights and weights not in FORMATS:
        hint = suggest(str(weights), FORMATS)
        raise ConfigError(f"--weights={weights!r} is unknown. {hint}")


def _to_format(leaf: Any, axes: tuple, weights: str) -> Any:
    leaf = jnp.asarray(leaf, jnp.float32)
    if weights == "float32" or not is_matrix(axes):
        return leaf
    if weights == "bfloat16":
        return leaf.astype(jnp.bfloat16)
    axis = bit_axis(axes)
    numbers, scale = quantize_rows(to_rows(leaf, axis))
    return Int8(numbers, scale, axis, leaf.shape)


def _shapes_of_open(gates: PyTree) -> PyTree | None:
    """Returns the shapes of gates if all of them are 1, else None."""
    if not all(np.all(np.asarray(gate) == 1) for gate in jax.tree.leaves(gates)):
        return None
    return jax.tree.map(lambda gate: _Shape(gate.shape), gates)


class _Shape(tuple):
    """A shape that is a leaf of a tree."""

    __slots__ = ()
