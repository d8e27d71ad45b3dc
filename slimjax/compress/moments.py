"""What a model's products read, and how the loss depends on what they write.

One pass forward, over many rows, has the second moment of the input of every product;
one pass backward, over fewer rows, that of the gradients of what they wrote. Labels are
drawn from the model itself, so that the second moment of a gradient is the curvature of
the loss (Fisher).

References:
    Martens and Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate
    Curvature", 2015, sections 2 and 3 (moments of both sides, labels of the model).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from slimjax.compress.sums import at_rest, second_moment, total
from slimjax.compress.walk import (
    Rows,
    Streams,
    Walk,
    outside_of_layers,
    slopes_reader_of,
)
from slimjax.models.paths import layer_name
from slimjax.trees import Path

STREAM = ("stream",)
"""What the stem writes: the residual stream before the first layer."""

HEAD = ("head",)
"""What heads read and write."""

WRITING = ("out", "down")
"""Weights that write to the residual stream."""


@dataclasses.dataclass
class Moments:
    """Second moments, by path of the weight, float32.

    Attributes:
        inputs: ``E[x^T x]``, the mean over positions, ``[I I]``; `HEAD` for what heads
            read.
        means: ``E[x]`` of them, ``[I]``.
        slopes: Sum of ``d^T d`` over positions, a target: ``[D D]`` of what writes to
            the stream (`STREAM` for the stem), its diagonal ``[O]`` of all others.
        num_positions: Positions that inputs were read from.
        num_targets: Targets whose gradients were taken.
    """

    inputs: dict[Path, np.ndarray] = dataclasses.field(default_factory=dict)
    means: dict[Path, np.ndarray] = dataclasses.field(default_factory=dict)
    slopes: dict[Path, np.ndarray] = dataclasses.field(default_factory=dict)
    num_positions: float = 0.0
    num_targets: float = 0.0


Report = Callable[[str, float], None]
"""Called with what is done, and which part of it is."""


def collect(
    walk: Walk,
    variables: PyTree,
    rows: Rows,
    num_slope_rows: int = 48,
    seed: int = 0,
    report: Report = lambda *_: None,
) -> Moments:
    """Returns the moments of all products of a model.

    Args:
        walk: The model.
        variables: ``{"params": weights, "gates": gates}``, gates open.
        rows: Text.
        num_slope_rows: Rows among them that gradients are taken of.
        seed: Of the labels.
        report: Called while it goes on.
    """
    found, numbers = Moments(), rows.spread(num_slope_rows)
    sampled, streams = rows.at(numbers), walk.begin(variables, rows)
    few, places = walk.begin(variables, sampled), []
    found.num_positions = streams.num_positions
    num_layers = walk.model.num_layers
    for number in range(num_layers):
        places.append(few)
        layer = walk.layer(variables, number)
        streams = _forward(walk, number, layer, streams, found)
        few = few.with_rows(streams.rows(numbers))
        report("moments of inputs", (number + 1) / num_layers)
    _of_head(walk, variables, rows, streams, found)
    slopes = _slopes_of_head(walk, variables, sampled, few, found, seed)
    found.num_targets = sampled.num_targets
    for number in reversed(range(num_layers)):
        layer = walk.layer(variables, number)
        slopes = _backward(walk, number, layer, places.pop(), slopes, found)
        report("moments of gradients", 1 - number / num_layers)
    found.slopes[STREAM] = _full(slopes)
    for path in found.slopes:
        found.slopes[path] = found.slopes[path] / found.num_targets
    return found


def collect_inputs(
    walk: Walk,
    variables: PyTree,
    rows: Rows,
    report: Report = lambda *_: None,
) -> dict[Path, np.ndarray]:
    """Returns the moments of the inputs of all products in layers.

    Args:
        walk: The model.
        variables: ``{"params": weights, "gates": gates}``, gates open.
        rows: Text.
        report: Called while it goes on.
    """
    found, streams = Moments(), walk.begin(variables, rows)
    found.num_positions = streams.num_positions
    for number in range(walk.model.num_layers):
        layer = walk.layer(variables, number)
        streams = _forward(walk, number, layer, streams, found)
        report("moments of inputs", (number + 1) / walk.model.num_layers)
    return found.inputs


def _forward(
    walk: Walk, number: int, layer: PyTree, streams: Streams, found: Moments
) -> Streams:
    """Returns the streams after a layer, and adds the moments of its inputs."""
    step, values = _forward_fn(walk.reader(number)), []
    squares: dict[Path, np.ndarray] = {}
    sums: dict[Path, np.ndarray] = {}
    for i, x in enumerate(streams.values):
        x, inputs = step(layer, x, streams.contexts[i])
        values.append(at_rest(x))
        mask = streams.mask(i)
        for path, own in inputs.items():
            _add(squares, path, second_moment(own, mask, walk.compute.dtype))
            _add(sums, path, total(own, mask))
    for path in squares:
        own = (layer_name(number), *path)
        found.inputs[own] = np.asarray(squares[path]) / found.num_positions
        found.means[own] = np.asarray(sums[path]) / found.num_positions
    return Streams(values, streams.contexts)


def _add(sums: dict[Path, np.ndarray], path: Path, value: np.ndarray) -> None:
    if path in sums:
        sums[path] += value
    else:
        is_view = isinstance(value, np.ndarray)  # It is added to in place.
        sums[path] = np.array(value) if is_view else value


@functools.lru_cache(maxsize=256)
def _forward_fn(read: Callable) -> Callable:
    return jax.jit(read)


def _of_head(
    walk: Walk, variables: PyTree, rows: Rows, streams: Streams, found: Moments
) -> None:
    """Adds the moment of what the head reads, at the positions that count."""
    end, sums = _end_fn(walk), {}
    outside = outside_of_layers(variables)
    for batch, x in zip(rows.batches(), streams.values, strict=True):
        read = end(outside, x, dict(batch.inputs)).x
        own = read.reshape(1, -1, read.shape[-1])
        mask = np.asarray(batch.weights, np.float32).reshape(1, -1)
        _add(sums, ("squares",), second_moment(own, mask, walk.compute.dtype))
        _add(sums, ("means",), total(own, mask))
    found.inputs[HEAD] = np.asarray(sums["squares",]) / rows.num_targets
    found.means[HEAD] = np.asarray(sums["means",]) / rows.num_targets


def _end_fn(walk: Walk) -> Callable:
    network = walk.model.module()
    return jax.jit(lambda v, x, inputs: network.apply(v, x, inputs, method="end"))


def _slopes_of_head(
    walk: Walk,
    variables: PyTree,
    rows: Rows,
    streams: Streams,
    found: Moments,
    seed: int,
) -> list[np.ndarray]:
    """Returns the gradients of the last stream, of nats of labels that are drawn.

    One row at a time: logits are as wide as the vocabulary.
    """
    network, outside = walk.model.module(), outside_of_layers(variables)

    def nats(x: Array, inputs: Any, weights: Array, key: Array) -> tuple[Array, Array]:
        readout = network.apply(outside, x, inputs, method="end")
        logits = readout.logits()
        labels = jax.lax.stop_gradient(jax.random.categorical(key, logits))
        scores = jax.nn.log_softmax(logits)
        own = -jnp.take_along_axis(scores, labels[..., None], -1)[..., 0]
        chances = jnp.exp(jax.lax.stop_gradient(scores))
        spread = jnp.einsum("...V,...->V", chances * (1 - chances), weights)
        return jnp.sum(own * weights), spread

    slope_of = jax.jit(jax.grad(nats, has_aux=True))
    key, slopes, spreads = jax.random.key(seed), [], 0.0
    for i, batch in enumerate(rows.batches()):
        parts = []
        for j, row in enumerate(batch.batches(1)):
            own = jax.random.fold_in(jax.random.fold_in(key, i), j)
            x = streams.values[i][j : j + 1]
            slope, spread = slope_of(x, dict(row.inputs), row.weights, own)
            spreads = spreads + spread
            parts.append(np.asarray(slope))
        slopes.append(np.concatenate(parts))
    found.slopes[HEAD] = np.asarray(spreads)
    return slopes


def _backward(
    walk: Walk,
    number: int,
    layer: PyTree,
    streams: Streams,
    slopes: list[np.ndarray],
    found: Moments,
) -> list[np.ndarray]:
    """Returns the gradients before a layer, and adds the moments of its outputs'."""
    read = slopes_reader_of(walk.shape(number), walk.tower, walk.compute)
    step, before = _backward_fn(read), []
    sums: dict[Path, np.ndarray] = {}
    for i, x in enumerate(streams.values):
        slope, written, squares = step(layer, x, streams.contexts[i], slopes[i])
        before.append(at_rest(slope))
        for path, own in written.items():
            mask = np.ones(own.shape[:2], np.float32)
            _add(sums, path, second_moment(own, mask, walk.compute.dtype))
        for path, own in squares.items():
            _add(sums, path, at_rest(own))
    for path, own in sums.items():
        found.slopes[layer_name(number), *path] = np.asarray(own)
    return before


@functools.lru_cache(maxsize=256)
def _backward_fn(read: Callable) -> Callable:
    @jax.jit
    def step(layer: PyTree, x: Array, context: Any, slope: Array):
        slope, slopes = read(layer, x, context, slope)
        rows = lambda x: x.reshape(*x.shape[:2], -1)
        written = {p: rows(own) for p, own in slopes.items() if p[-1] in WRITING}
        squares = {
            p: jnp.sum(rows(own) ** 2, axis=(0, 1))
            for p, own in slopes.items()
            if p[-1] not in WRITING
        }
        return slope, written, squares

    return step


def _full(slopes: list[np.ndarray]) -> np.ndarray:
    rows = [np.asarray(slope).reshape(-1, slope.shape[-1]) for slope in slopes]
    return np.sum([own.T @ own for own in rows], axis=0)
