"""Cutting and refitting layer by layer: each writer makes good what came before it.

Original and cut model read the same rows, side by side. In the order of the sublayers,
the weight that writes to the residual stream is fitted by least squares on what it
reads *in the cut model*. Its target is what the original wrote here, plus the
difference between the two streams at this place, so that the stream is that of the
original again as nearly as can be:

    W' = argmin  E |x' + h' W' - (x + h W)|^2 + ridge |W' - W_kept|^2

where x, h are of the original and x', h' of the cut model. The ridge is chosen on text
that the fit has not seen (`slimjax.compress.fitting`): in a model of which little was
lost, or with little text, the weight stays as it is. Where weights are rounded,
those that read the stream are rounded before (with the moment of the cut model's own
stream), and the one that writes after; what rounding changes is made good like a cut.

References:
    Kurtic et al., "ZipLM", 2023, section 3 (least squares for a cut layer).
    Frantar et al., "GPTQ", 2023, section 4 (rounding layer by layer).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from slimjax.compress.fitting import RIDGES, Fit
from slimjax.compress.moments import Report
from slimjax.compress.rows import Rows, Streams
from slimjax.compress.side import Side
from slimjax.compress.sums import at_rest, second_moment, unpadded
from slimjax.compress.walk import WRITERS, Place, Walk, inside, source_of
from slimjax.nn.products import product
from slimjax.trees import Path, flatten

READERS = {
    "attention": ("query", "key", "value"),
    "cross": ("query", "key", "value"),
    "mlp": ("gate", "up"),
}
"""The weights of each sublayer that read residual streams."""


def refit(
    whole: Walk,
    variables: PyTree,
    sides: Sequence[Side],
    rows: Rows,
    *,
    ridges: Sequence[float] = RIDGES,
    report: Report = lambda *_: None,
) -> None:
    """Refits all writers of cut models of one original, on some text.

    The original is gone through once for all of them.

    Args:
        whole: The original.
        variables: Its variables, gates open.
        sides: The cut models, whose weights are changed.
        rows: The text.
        ridges: See `Fit.solve`.
        report: Called while it goes on.
    """
    done, ends = 0, dict[str, Streams]()
    for tower in whole.towers:
        streams = whole.begin(variables, rows, tower.name, ends)
        for side in sides:
            is_alike = all(side.ends[name] is ends[name] for name in ends)
            side.begin(rows, tower.name, streams, is_alike=is_alike)
        for place in whole.places(tower.name):
            layer = whole.layer(variables, place)
            for name in whole.sublayers(place):
                params = inside(variables["params"], (*place.path, name))
                after, targets = _apply_original(whole, place, name, layer, streams)
                for side in sides:
                    if _is_alike(side, place, name, params, streams):
                        side.streams = after
                    else:
                        own = _refit_sublayer(side, place, name, targets, ridges)
                        side.streams = own
                streams = after
            done += 1
            report("refit", done / whole.num_layers)
        ends[tower.name] = streams
        for side in sides:
            assert side.streams is not None
            side.ends[tower.name] = side.streams


def _apply_original(
    whole: Walk, place: Place, name: str, layer: PyTree, streams: Streams
) -> tuple[Streams, list[np.ndarray]]:
    """Returns the streams after a sublayer, and the sums that it added to."""
    step, values, targets = _original_fn(whole, place, name), [], []
    for x, context in zip(streams.values, streams.contexts, strict=True):
        after, target = step(layer, x, context)
        values.append(at_rest(after))
        targets.append(values[-1] if whole.adds else at_rest(target))
    return Streams(values, streams.contexts), targets


def _is_alike(
    side: Side, place: Place, name: str, whole: dict[str, Any], streams: Streams
) -> bool:
    """Whether nothing was cut or rounded, up to the end of a sublayer."""
    if side.streams is not streams or side.rounder is not None:
        return False
    if not side.has(place, name):
        return False
    own, known = flatten(side.params(place, name)), flatten(whole)
    return own.keys() == known.keys() and all(
        np.array_equal(leaf, known[path]) for path, leaf in own.items()
    )


def _refit_sublayer(
    side: Side,
    place: Place,
    name: str,
    targets: list[np.ndarray],
    ridges: Sequence[float],
) -> Streams:
    """Returns the stream of a cut model after a sublayer, whose writer is refitted."""
    streams, hidden = side.streams, []
    assert streams is not None
    if not side.has(place, name):
        return _advance(side, place, name, streams, hidden)
    if side.rounder is not None:
        _round_readers(side, place, name, streams)
    read, layer, sums = _hidden_fn(side.walk, place, name), side.layer(place), Fit()
    for i, (x, target) in enumerate(zip(streams.values, targets, strict=True)):
        mask = streams.mask(i)
        hidden.append(at_rest(read(layer, x, streams.contexts[i])))
        sums.add(unpadded(hidden[-1], mask), unpadded(target - x, mask))
    _fit(side, place, name, sums, ridges)
    return _advance(side, place, name, streams, hidden)


def _round_readers(side: Side, place: Place, name: str, streams: Streams) -> None:
    """Rounds the weights of a sublayer that read the stream."""
    assert side.rounder is not None
    read, layer = _inputs_fn(side.walk, place, name), side.layer(place)
    squares: dict[Path, Any] = {}
    for i, x in enumerate(streams.values):
        for path, inputs in read(layer, x, streams.contexts[i]).items():
            mask = streams.mask(i, path)
            moment = second_moment(inputs, mask, side.walk.compute.dtype)
            squares[path] = squares.get(path, 0.0) + moment
    params = side.params(place, name)
    for reader in READERS[name]:
        if reader in params:
            source = source_of((name, reader), squares)
            count = streams.num_positions(source)
            moment = np.asarray(squares[source]) / count
            path = (*place.path, name, reader)
            params[reader] = side.rounder.round(path, params[reader], moment)


def _fit(
    side: Side, place: Place, name: str, sums: Fit, ridges: Sequence[float]
) -> None:
    """Refits the writer of a sublayer, and rounds it if weights are rounded."""
    params, writer = side.params(place, name), WRITERS[name]
    weight, has_bias = np.asarray(params[writer]), f"{writer}_bias" in params
    rows = weight.reshape(-1, weight.shape[-1])
    fitted, bias = sums.solve(rows, ridges, has_bias=has_bias)
    fitted = fitted.reshape(weight.shape)
    if side.rounder is not None:
        path, moment = (*place.path, name, writer), sums.moment
        fitted = side.rounder.round(path, fitted, moment)
    params[writer] = fitted
    if has_bias:
        params[f"{writer}_bias"] = bias[None]


def _advance(
    side: Side, place: Place, name: str, streams: Streams, hidden: list[np.ndarray]
) -> Streams:
    """Returns the stream of a cut model after a sublayer.

    Args:
        side: The cut model.
        place: The layer.
        name: Name of the sublayer, which may be gone.
        streams: The stream before it.
        hidden: What its writer reads.
    """
    walk, layer = side.walk, side.layer(place)
    if not walk.adds:
        step = jax.jit(walk.reader(place, name))
        pairs = zip(streams.values, streams.contexts, strict=True)
        values = [at_rest(step(layer, x, context)[0]) for x, context in pairs]
        return Streams(values, streams.contexts)
    if not side.has(place, name):
        return Streams(list(streams.values), streams.contexts)
    write, params = _write_fn(walk.compute.dtype), layer["params"][name]
    own = params[WRITERS[name]], params.get(f"{WRITERS[name]}_bias")
    pairs = zip(streams.values, hidden, strict=True)
    values = [at_rest(write(x, h, *own)) for x, h in pairs]
    return Streams(values, streams.contexts)


def _original_fn(walk: Walk, place: Place, name: str) -> Callable:
    """Returns the function (layer, x, context) -> (x after a sublayer, x it added to).

    They differ where a norm stands behind the sublayer.
    """
    return _original_of(walk.reader(place, name), name, walk.compute.dtype, walk.adds)


@functools.lru_cache(maxsize=256)
def _original_of(read: Callable, name: str, dtype: str, adds: bool) -> Callable:
    @jax.jit
    def step(layer: PyTree, x: Array, context: Any) -> tuple[Array, Array]:
        after, inputs = read(layer, x, context)
        if adds:
            return after, after
        own = layer["params"][name]
        hidden = inputs[name, WRITERS[name]]
        bias = own.get(f"{WRITERS[name]}_bias")
        return after, _write(x, hidden, own[WRITERS[name]], bias, dtype)

    return step


def _hidden_fn(walk: Walk, place: Place, name: str) -> Callable:
    """Returns the function (layer, x, context) -> what the writer of it reads."""
    return _hidden_of(walk.reader(place, name), (name, WRITERS[name]))


@functools.lru_cache(maxsize=256)
def _hidden_of(read: Callable, path: Path) -> Callable:
    return jax.jit(lambda layer, x, context: read(layer, x, context)[1][path])


def _inputs_fn(walk: Walk, place: Place, name: str) -> Callable:
    """Returns the function (layer, x, context) -> what its readers read, by path."""
    return _inputs_of(walk.reader(place, name), WRITERS[name])


@functools.lru_cache(maxsize=256)
def _inputs_of(read: Callable, writer: str) -> Callable:
    @jax.jit
    def step(layer: PyTree, x: Array, context: Any) -> dict[Path, Array]:
        inputs = read(layer, x, context)[1]
        return {path: own for path, own in inputs.items() if path[-1] != writer}

    return step


@functools.lru_cache(maxsize=8)
def _write_fn(dtype: str) -> Callable:
    return jax.jit(lambda x, h, weight, bias: _write(x, h, weight, bias, dtype))


def _write(
    x: Array, hidden: Array, weight: Array, bias: Array | None, dtype: str
) -> Array:
    rows = weight.reshape(-1, weight.shape[-1])
    added = product(hidden, rows, jnp.dtype(dtype))
    return x + added if bias is None else x + added + bias[None]
