"""How the loss depends on what products write: gradients, gone through backwards.

Labels are drawn from the model itself (`slimjax.compress.losses`). Decoders go first,
then the encoders whose last stream they read.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from slimjax.compress.losses import own_loss, scores_classes
from slimjax.compress.rows import Rows, Streams
from slimjax.compress.sums import add_to, at_rest, second_moment
from slimjax.compress.walk import Place, Walk, outside_of_layers
from slimjax.models.tower_config import TowerConfig
from slimjax.trees import Path

STREAM = ("stream",)
"""What the stem writes: the residual stream before the first layer.

That of a tower with a table of its own stands under the tower's name.
"""

HEAD = ("head",)
"""What heads read and write."""

WRITING = ("out", "down")
"""Weights that write to the residual stream."""

Report = Callable[[str, float], None]
"""Called with what is done, and which part of it is."""


def add_gradients(
    walk: Walk,
    variables: PyTree,
    rows: Rows,
    before: dict[Place, Streams],
    ends: dict[str, Streams],
    last: list[np.ndarray],
    found: dict[Path, np.ndarray],
    report: Report,
) -> None:
    """Adds the moments of the gradients of all that is written.

    Args:
        walk: The model.
        variables: Its variables.
        rows: What it read.
        before: The streams before each layer; they are taken out.
        ends: The last stream of each tower.
        last: The gradients of that of the main tower.
        found: Second moments by path of the weight, to which they are added.
        report: Called while it goes on.
    """
    of_ends = {"": last}
    for tower in reversed(walk.towers):
        slopes, of_memory = of_ends[tower.name], list[Any]()
        for place in reversed(walk.places(tower.name)):
            layer = walk.layer(variables, place)
            parts = before.pop(place), slopes, found
            slopes, own = _backward(walk, place, layer, *parts)
            of_memory = own if not of_memory else list(map(_plus, of_memory, own))
            report("moments of gradients", 1 - len(before) / walk.num_layers)
        add_to(found, stream_of(tower), _full(slopes))
        if tower.memory is not None:
            streams = ends[tower.memory].values
            batches = zip(rows.batches(), streams, of_memory, strict=True)
            of_ends[tower.memory] = [
                walk.memory_slopes(variables, batch, tower.name, x, slope)
                for batch, x, slope in batches
            ]


def stream_of(tower: TowerConfig) -> Path:
    """Returns the name of the stream that a tower's table of tokens writes."""
    owner = tower.name if tower.table_of is None else tower.table_of
    return (owner, *STREAM) if owner else STREAM


def _plus(one: Any, other: Any) -> Any:
    return None if other is None else one + other


def slopes_of_head(
    walk: Walk,
    variables: PyTree,
    rows: Rows,
    streams: Streams,
    found: dict[Path, np.ndarray],
    seed: int,
) -> list[np.ndarray]:
    """Returns the gradients of the last stream, of nats of labels that are drawn.

    One row at a time: logits are as wide as the vocabulary.
    """
    network, outside = walk.model.module(), outside_of_layers(variables)
    head = walk.model.heads[0]

    def nats(
        x: Array, outside: PyTree, inputs: Any, weights: Array, key: Array
    ) -> tuple[Array, Array]:
        readout = network.apply(outside, x, inputs, method="end")
        own, chances = own_loss(head, readout, key)
        spread = jnp.einsum("...V,...->V", chances * (1 - chances), weights)
        return jnp.sum(own * weights), spread

    slope_of = jax.jit(jax.grad(nats, has_aux=True))
    key, slopes, spreads = jax.random.key(seed), [], 0.0
    for i, batch in enumerate(rows.batches()):
        parts = []
        for j, row in enumerate(batch.batches(1)):
            own = jax.random.fold_in(jax.random.fold_in(key, i), j)
            x = streams.values[i][j : j + 1]
            slope, spread = slope_of(x, outside, dict(row.inputs), row.weights, own)
            spreads = spreads + spread
            parts.append(np.asarray(slope))
        slopes.append(np.concatenate(parts))
    if scores_classes(head):
        found[HEAD] = np.asarray(spreads)
    return slopes


def _backward(
    walk: Walk,
    place: Place,
    layer: PyTree,
    streams: Streams,
    slopes: list[np.ndarray],
    found: dict[Path, np.ndarray],
) -> tuple[list[np.ndarray], list[Any]]:
    """Returns the gradients before a layer, and adds the moments of its outputs'.

    The second ones are those of the memory, None where there is none.
    """
    step, before, of_memory = _backward_fn(walk.slopes_reader(place)), [], []
    sums: dict[Path, np.ndarray] = {}
    for i, x in enumerate(streams.values):
        parts = layer, x, streams.contexts[i], slopes[i]
        slope, memory, written, squares = step(*parts)
        before.append(at_rest(slope))
        of_memory.append(None if memory is None else at_rest(memory))
        for path, own in written.items():
            mask = np.ones(own.shape[:2], np.float32)
            add_to(sums, path, second_moment(own, mask, walk.compute.dtype))
        for path, own in squares.items():
            add_to(sums, path, at_rest(own))
    for path, own in sums.items():
        found[*place.path, *path] = np.asarray(own)
    return before, of_memory


@functools.lru_cache(maxsize=256)
def _backward_fn(read: Callable) -> Callable:
    @jax.jit
    def step(layer: PyTree, x: Array, context: Any, slope: Array):
        slope, memory, slopes = read(layer, x, context, slope)
        rows = lambda x: x.reshape(*x.shape[:2], -1)
        written = {p: rows(own) for p, own in slopes.items() if p[-1] in WRITING}
        squares = {
            p: jnp.sum(rows(own) ** 2, axis=(0, 1))
            for p, own in slopes.items()
            if p[-1] not in WRITING
        }
        return slope, memory, written, squares

    return step


def _full(slopes: list[np.ndarray]) -> np.ndarray:
    rows = [np.asarray(slope).reshape(-1, slope.shape[-1]) for slope in slopes]
    return np.sum([own.T @ own for own in rows], axis=0)
