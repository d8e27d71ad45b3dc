"""What a model's products read, and how the loss depends on what they write.

One pass forward, over many rows, has the second moment of the input of every product;
one pass backward, over fewer rows, that of the gradients of what they wrote. Labels are
drawn from the model itself, so that the second moment of a gradient is the curvature of
the loss (Fisher). Encoders go first, and last on the way back.

References:
    Martens and Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate
    Curvature", 2015, sections 2 and 3 (moments of both sides, labels of the model).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import numpy as np
from jaxtyping import PyTree

from slimjax.compress.gradients import HEAD, add_gradients, slopes_of_head
from slimjax.compress.gradients import STREAM as STREAM
from slimjax.compress.losses import scores_classes
from slimjax.compress.rows import Rows, Streams
from slimjax.compress.sums import add_to, at_rest, second_moment, total
from slimjax.compress.walk import SHARES, Place, Walk, outside_of_layers
from slimjax.trees import Path


@dataclasses.dataclass
class Moments:
    """Second moments, by path of the weight, float32.

    Attributes:
        inputs: ``E[x^T x]``, the mean over positions, ``[I I]``; `HEAD` for what heads
            read.
        means: ``E[x]`` of them, ``[I]``.
        slopes: Sum of ``d^T d`` over positions, a target: ``[D D]`` of what writes to
            the stream (`STREAM` for the stem), its diagonal ``[O]`` of all others.
        num_targets: Targets whose gradients were taken.
    """

    inputs: dict[Path, np.ndarray] = dataclasses.field(default_factory=dict)
    means: dict[Path, np.ndarray] = dataclasses.field(default_factory=dict)
    slopes: dict[Path, np.ndarray] = dataclasses.field(default_factory=dict)
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
    sampled, before = rows.at(numbers), {}
    ends, few_ends = dict[str, Streams](), dict[str, Streams]()
    for tower in walk.towers:
        streams = walk.begin(variables, rows, tower.name, ends)
        few = walk.begin(variables, sampled, tower.name, few_ends)
        for place in walk.places(tower.name):
            before[place] = few
            layer = walk.layer(variables, place)
            streams = _forward(walk, place, layer, streams, found)
            few = few.with_rows(streams.rows(numbers))
            report("moments of inputs", len(before) / walk.num_layers)
        ends[tower.name], few_ends[tower.name] = streams, few
    found.num_targets = sampled.num_targets
    _of_head(walk, variables, rows, ends[""], found)
    last = slopes_of_head(walk, variables, sampled, few_ends[""], found.slopes, seed)
    parts = sampled, before, few_ends, last, found.slopes
    add_gradients(walk, variables, *parts, report)
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
    found, ends, done = Moments(), dict[str, Streams](), 0
    for tower in walk.towers:
        streams = walk.begin(variables, rows, tower.name, ends)
        for place in walk.places(tower.name):
            layer = walk.layer(variables, place)
            streams = _forward(walk, place, layer, streams, found)
            done += 1
            report("moments of inputs", done / walk.num_layers)
        ends[tower.name] = streams
    return found.inputs


def _forward(
    walk: Walk, place: Place, layer: PyTree, streams: Streams, found: Moments
) -> Streams:
    """Returns the streams after a layer, and adds the moments of its inputs."""
    step, values = _forward_fn(walk.reader(place)), []
    squares: dict[Path, np.ndarray] = {}
    sums: dict[Path, np.ndarray] = {}
    for i, x in enumerate(streams.values):
        x, inputs = step(layer, x, streams.contexts[i])
        values.append(at_rest(x))
        for path, own in inputs.items():
            mask = streams.mask(i, path)
            add_to(squares, path, second_moment(own, mask, walk.compute.dtype))
            add_to(sums, path, total(own, mask))
    for path in squares:
        own, count = (*place.path, *path), streams.num_positions(path)
        found.inputs[own] = np.asarray(squares[path]) / count
        found.means[own] = np.asarray(sums[path]) / count
    return Streams(values, streams.contexts)


@functools.lru_cache(maxsize=256)
def _forward_fn(read: Callable) -> Callable:
    return jax.jit(read)


def _of_head(
    walk: Walk, variables: PyTree, rows: Rows, streams: Streams, found: Moments
) -> None:
    """Adds the moment of what the head reads, at the positions that count.

    A head that gives vectors reads and writes nothing of its own.
    """
    if not scores_classes(walk.model.heads[0]):
        return
    end, sums = _end_fn(walk), {}
    outside = outside_of_layers(variables)
    for batch, x in zip(rows.batches(), streams.values, strict=True):
        read = end(outside, x, dict(batch.inputs)).x
        own = read.reshape(1, -1, read.shape[-1])
        mask = np.asarray(batch.weights, np.float32).reshape(1, -1)
        add_to(sums, ("squares",), second_moment(own, mask, walk.compute.dtype))
        add_to(sums, ("means",), total(own, mask))
    found.inputs[HEAD] = np.asarray(sums["squares",]) / rows.num_targets
    found.means[HEAD] = np.asarray(sums["means",]) / rows.num_targets


def _end_fn(walk: Walk) -> Callable:
    network = walk.model.module()
    return jax.jit(lambda v, x, inputs: network.apply(v, x, inputs, method="end"))


def spread(moments: Mapping[Path, np.ndarray]) -> dict[Path, np.ndarray]:
    """Returns moments for all weights, of those with one for what they share.

    Examples:
        >>> sorted(spread({("mlp", "up"): np.eye(2)}))
        [('mlp', 'gate'), ('mlp', 'up')]
    """
    found = dict(moments)
    for path, moment in moments.items():
        for name, first in SHARES.items():
            if path[-1] == first:
                found.setdefault((*path[:-1], name), moment)
    return found
