"""One pass over examples: rows are computed in sorted batches, answers keep the order.

Examples are taken a window at a time. While the device computes one window, the host
makes the rows of the next.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from slimjax.data.dataset import Codec, Field
from slimjax.data.encoding import Encoded, Prepared, encode_examples
from slimjax.data.inputs import check_inputs
from slimjax.predict.batches import (
    Lengths,
    choose_lengths,
    full_length,
    make_batches,
    measure_rows,
)
from slimjax.tasks.answers import Results
from slimjax.text.examples import Example
from slimjax.text.reading import BadDocument

WINDOW_BATCHES = 32
"""Batches of examples that are sorted by length together, and written together."""

Item = Example | BadDocument
"""An example, or what stands in its place."""

Run = Callable[[dict[str, np.ndarray]], Mapping[str, Any]]
"""From a batch to what is kept of each row, ``[B ...]``."""


class Shapes(NamedTuple):
    """Shapes of all batches of a pass.

    Attributes:
        num_rows: Rows of a batch.
        lengths: Lengths that batches may have, ascending.
    """

    num_rows: int
    lengths: Lengths


class Window(NamedTuple):
    """What was found, and what is known of the rows of its examples.

    Attributes:
        found: Examples, and what is wrong in place of bad ones.
        results: The rows of the examples; None if there is no example.
        is_cut: Whether something of an example is in none of its rows, ``[E]``.
    """

    found: list[Item]
    results: Results | None
    is_cut: Sequence[bool]


class _Pending(NamedTuple):
    """A window that the device is working on."""

    found: list[Item]
    examples: list[Example]
    encoded: Encoded
    parts: list[tuple[np.ndarray, Any]]


class Pass:
    """Runs over examples once.

    Attributes:
        shapes: Shapes of batches; None until the first window decides.
        size: Examples of a window.
    """

    def __init__(
        self,
        columns: list[Prepared],
        codecs: Mapping[str, Codec],
        run: Run,
        batch_size: int,
        shapes: Shapes | None = None,
    ):
        """Reads nothing yet.

        Args:
            columns: Make rows of examples.
            codecs: Those of the model.
            run: Computes a batch.
            batch_size: Most rows of a batch.
            shapes: Those of an earlier pass that this one continues.
        """
        self._columns, self._codecs, self._run = columns, codecs, run
        self._fields = {n: f for column in columns for n, f in column.fields.items()}
        self._batch_size = batch_size
        self.shapes, self.size = shapes, batch_size * WINDOW_BATCHES

    def over(self, found: Iterable[Item]) -> Iterator[Window]:
        """Yields windows, in order."""
        pending: _Pending | None = None
        for window in _cut(check_inputs(self._columns, iter(found)), self.size):
            following = self._launch(window)
            if pending is not None:
                yield self._collect(pending)
            pending = following
        if pending is not None:
            yield self._collect(pending)

    def _launch(self, found: list[Item]) -> _Pending:
        """Makes rows of examples, and starts to compute them."""
        examples = [one for one in found if isinstance(one, Example)]
        encoded, parts = encode_examples(self._columns, examples), []
        if examples:
            if self.shapes is None:
                self.shapes = choose_shapes(encoded, self._fields, self._batch_size)
            batches = make_batches(encoded.arrays, self._fields, *self.shapes)
            parts = [(batch.numbers, self._run(batch.arrays)) for batch in batches]
        return _Pending(found, examples, encoded, parts)

    def _collect(self, pending: _Pending) -> Window:
        """Waits for the device, and brings rows into their order."""
        found, examples, encoded, parts = pending
        if not examples:
            return Window(found, None, ())
        assert encoded.is_cut is not None
        assert encoded.examples is not None
        starts = np.searchsorted(encoded.examples, np.arange(len(examples) + 1))
        kept, rows = _in_order(parts), encoded.arrays
        results = Results(examples, kept, rows, starts, self._codecs)
        return Window(found, results, encoded.is_cut.tolist())


def choose_shapes(
    encoded: Encoded, fields: Mapping[str, Field], batch_size: int
) -> Shapes:
    """Returns shapes that suit a first window; a small one has a small batch."""
    sizes, longest = measure_rows(encoded.arrays, fields), full_length(fields)
    num_rows = min(batch_size, 1 << (len(sizes) - 1).bit_length())
    if not longest:
        return Shapes(num_rows, ())
    return Shapes(num_rows, choose_lengths(sizes, num_rows, longest))


def _in_order(parts: list[tuple[np.ndarray, Any]]) -> dict[str, np.ndarray]:
    """Returns what was kept of all rows, in the order of their numbers."""
    numbers = np.concatenate([numbers for numbers, _ in parts])
    each = jax.device_get([kept for _, kept in parts])
    order = np.argsort(numbers)
    return {
        name: np.concatenate(
            _same_shape(
                [
                    np.asarray(kept[name])[: len(own)]
                    for (own, _), kept in zip(parts, each, strict=True)
                ]
            )
        )[order]
        for name in each[0]
    }


def _same_shape(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Returns arrays of rows with zeros behind positions that batches left out."""
    shapes = np.array([array.shape[1:] for array in arrays], int)
    missing = shapes.max(axis=0) - shapes
    return [
        np.pad(array, [(0, 0), *((0, int(n)) for n in more)]) if more.any() else array
        for array, more in zip(arrays, missing, strict=True)
    ]


def _cut(found: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yields lists of `size`; the last one may be shorter."""
    window: list[Item] = []
    for one in found:
        window.append(one)
        if len(window) == size:
            yield window
            window = []
    if window:
        yield window
