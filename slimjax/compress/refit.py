"""Cutting and refitting layer by layer: each writer makes good what came before it.

Original and cut model read the same rows, side by side. In the order of the sublayers,
the weight that writes to the residual stream is fitted by least squares on what it
reads *in the cut model*. Its target is what the original wrote here, plus the
difference between the two streams at this place, so that the stream is that of the
original again as nearly as can be:

    W' = argmin  E |x' + h' W' - (x + h W)|^2 + ridge |W' - W_kept|^2

where x, h are of the original and x', h' of the cut model. Where weights are rounded,
those that read the stream are rounded before (with the moment of the cut model's own
stream), and the one that writes after; what rounding changes is made good like a cut.

References:
    Kurtic et al., "ZipLM", 2023, section 3 (least squares for a cut layer).
    Frantar et al., "GPTQ", 2023, section 4 (rounding layer by layer).
"""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from slimjax.compress.fitting import RIDGE, Fit
from slimjax.compress.walk import (
    WRITERS,
    Rows,
    Streams,
    Walk,
    second_moment,
    source_of,
)
from slimjax.models.paths import layer_name
from slimjax.nn.products import product
from slimjax.trees import Path

Report = Callable[[str, float], None]
"""Called with what is done, and which part of it is."""

READERS = {"attention": ("query", "key", "value"), "mlp": ("gate", "up")}
"""The weights of each sublayer that read the residual stream."""


class Rounder(Protocol):
    """What rounds weights, and remembers how."""

    def round(
        self, path: Path, weight: np.ndarray, moment: Float[np.ndarray, "I I"]
    ) -> np.ndarray:
        """Returns a weight on its levels.

        Args:
            path: Its path.
            weight: In the shape that the model has.
            moment: Of what it reads.
        """
        ...


class Refit:
    """Goes through a model and a cut one of the same weights, side by side."""

    def __init__(
        self,
        whole: Walk,
        variables: PyTree,
        slim: Walk,
        slim_variables: PyTree,
        *,
        ridge: float = RIDGE,
        rounder: Rounder | None = None,
    ):
        """Takes both models; the cut one's weights are changed in place.

        Args:
            whole: The original.
            variables: Its variables, gates open.
            slim: The cut model.
            slim_variables: Its variables, nested dicts of host arrays.
            ridge: See `Fit.solve`.
            rounder: What rounds weights; None where nothing is rounded.
        """
        self.whole, self.variables = whole, variables
        self.slim, self.slim_variables = slim, slim_variables
        self.ridge, self.rounder = ridge, rounder

    def run(self, rows: Rows, report: Report = lambda *_: None) -> None:
        """Refits all writers, on some text.

        Args:
            rows: The text.
            report: Called while it goes on.
        """
        streams = own = self.whole.begin(self.variables, rows)
        if self.rounder is not None:
            own = self.slim.begin(self.slim_variables, rows)
        num_layers = self.whole.model.num_layers
        for number in range(num_layers):
            layer = self.whole.layer(self.variables, number)
            for name in self.whole.sublayers(number):
                streams, own = self._pass(number, name, layer, streams, own)
            report("refit", (number + 1) / num_layers)

    def _pass(
        self, number: int, name: str, layer: PyTree, streams: Streams, own: Streams
    ) -> tuple[Streams, Streams]:
        """Returns both streams after a sublayer, whose writer is refitted."""
        stays = name in self.slim.sublayers(number)
        is_same = own is streams and stays and self._is_whole(number, name)
        if stays and self.rounder is not None:
            self._round_readers(number, name, own)
        step = _original_fn(self.whole, number, name)
        read = _hidden_fn(self.slim, number, name) if stays and not is_same else None
        slim_layer = self.slim.layer(self.slim_variables, number)
        values, hidden, sums = [], [], Fit()
        for i, x in enumerate(streams.values):
            context, mask = streams.contexts[i], streams.mask(i) > 0
            after, target = map(np.asarray, step(layer, x, context))
            values.append(after)
            if read is not None:
                hidden.append(np.asarray(read(slim_layer, own.values[i], context)))
                sums.add(hidden[-1][mask], (target - own.values[i])[mask])
        after = Streams(values, streams.contexts)
        if is_same:
            return after, after
        if stays:
            self._fit(number, name, sums)
        return after, self._advance(number, name, own, hidden)

    def _is_whole(self, number: int, name: str) -> bool:
        """Whether nothing of a sublayer was cut, and nothing is rounded."""
        sizes = [
            {
                k: np.shape(v)
                for k, v in tree["params"][layer_name(number)][name].items()
            }
            for tree in (self.variables, self.slim_variables)
        ]
        return sizes[0] == sizes[1] and self.rounder is None

    def _params(self, number: int, name: str) -> dict[str, Any]:
        return self.slim_variables["params"][layer_name(number)][name]

    def _round_readers(self, number: int, name: str, own: Streams) -> None:
        """Rounds the weights of a sublayer that read the stream."""
        assert self.rounder is not None
        read = _inputs_fn(self.slim, number, name)
        layer = self.slim.layer(self.slim_variables, number)
        squares: dict[Path, Any] = {}
        for i, x in enumerate(own.values):
            for path, inputs in read(layer, x, own.contexts[i]).items():
                moment = second_moment(inputs, own.mask(i), self.slim.compute.dtype)
                squares[path] = squares.get(path, 0.0) + moment
        params = self._params(number, name)
        for reader in READERS[name]:
            if reader in params:
                moment = squares[source_of((name, reader), squares)]
                path = (layer_name(number), name, reader)
                moment = moment / own.num_positions
                params[reader] = self.rounder.round(path, params[reader], moment)

    def _fit(self, number: int, name: str, sums: Fit) -> None:
        """Refits the writer of a sublayer, and rounds it if weights are rounded."""
        params, writer = self._params(number, name), WRITERS[name]
        weight, has_bias = np.asarray(params[writer]), f"{writer}_bias" in params
        rows = weight.reshape(-1, weight.shape[-1])
        fitted, bias = sums.solve(rows, self.ridge, has_bias=has_bias)
        fitted = fitted.reshape(weight.shape)
        if self.rounder is not None:
            path, moment = (layer_name(number), name, writer), sums.squares / sums.count
            fitted = self.rounder.round(path, fitted, moment)
        params[writer] = fitted
        if has_bias:
            params[f"{writer}_bias"] = bias[None]

    def _advance(
        self, number: int, name: str, own: Streams, hidden: list[np.ndarray]
    ) -> Streams:
        """Returns the stream of the cut model after a sublayer."""
        is_gone = name not in self.slim.sublayers(number)
        if is_gone and self.slim.adds:
            return Streams(list(own.values), own.contexts)
        layer = self.slim.layer(self.slim_variables, number)
        if not self.slim.adds:
            read = jax.jit(self.slim.reader(number, name))
            pairs = zip(own.values, own.contexts, strict=True)
            return Streams(
                [np.asarray(read(layer, x, c)[0]) for x, c in pairs], own.contexts
            )
        write, params = _write_fn(self.slim.compute.dtype), layer["params"][name]
        own_params = params[WRITERS[name]], params.get(f"{WRITERS[name]}_bias")
        pairs = zip(own.values, hidden, strict=True)
        values = [np.asarray(write(x, h, *own_params)) for x, h in pairs]
        return Streams(values, own.contexts)


def _original_fn(walk: Walk, number: int, name: str) -> Callable:
    """Returns the function (layer, x, context) -> (x after a sublayer, x it added to).

    They differ where a norm stands behind the sublayer.
    """
    return _original_of(walk.reader(number, name), name, walk.compute.dtype, walk.adds)


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


def _hidden_fn(walk: Walk, number: int, name: str) -> Callable:
    """Returns the function (layer, x, context) -> what the writer of it reads."""
    return _hidden_of(walk.reader(number, name), (name, WRITERS[name]))


@functools.lru_cache(maxsize=256)
def _hidden_of(read: Callable, path: Path) -> Callable:
    return jax.jit(lambda layer, x, context: read(layer, x, context)[1][path])


def _inputs_fn(walk: Walk, number: int, name: str) -> Callable:
    """Returns the function (layer, x, context) -> what its readers read, by path."""
    return _inputs_of(walk.reader(number, name), WRITERS[name])


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
