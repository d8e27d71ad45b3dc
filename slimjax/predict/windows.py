"""One pass over examples: rows are computed in sorted batches, answers keep the order.

Examples are taken a window at a time. While the device computes one window, the host
makes the rows of the next.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from slimjax.data.dataset import Codec, Field
from slimjax.data.encoding import (
    Encoded,
    Prepared,
    encode_examples,
    find_unencodable,
)
from slimjax.data.inputs import check_inputs
from slimjax.errors import DataError
from slimjax.predict.batches import (
    Batch,
    Lengths,
    choose_lengths,
    full_length,
    make_batches,
    measure_rows,
    with_positions,
)
from slimjax.tasks.answers import Results
from slimjax.text.examples import Example
from slimjax.text.reading import BadDocument

WINDOW_BATCHES = 32
"""Batches of examples that are sorted by length together, and written together."""

Item = Example | BadDocument
"""An example, or what stands in its place."""

Kept = Mapping[str, Any]
Run = Callable[[Mapping[str, Any]], Kept]
"""From a batch to what is kept of each row, ``[B ...]``. It may have ``shapes``, from a
batch to the shapes of what it returns."""


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


class _Part(NamedTuple):
    """A batch that is computed: its rows, what is kept, and its positions."""

    numbers: np.ndarray
    kept: Kept
    length: int


class _Pending(NamedTuple):
    """A window that the device is working on."""

    found: list[Item]
    examples: list[Example]
    encoded: Encoded
    parts: list[_Part]


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
        self._longest = full_length(self._fields)
        self._by_position: dict[str, bool] = {}
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
        try:
            encoded, parts = encode_examples(self._columns, examples), []
        except DataError:
            bad = find_unencodable(self._columns, examples)
            if not bad:
                raise
            return self._launch(_put_in_place(found, bad))
        if examples:
            if self.shapes is None:
                self.shapes = choose_shapes(encoded, self._fields, self._batch_size)
            batches = make_batches(encoded.arrays, self._fields, *self.shapes)
            parts = [self._start(batch) for batch in batches]
        return _Pending(found, examples, encoded, parts)

    def _start(self, batch: Batch) -> _Part:
        """Starts to compute a batch."""
        arrays = [batch.arrays[n] for n in with_positions(self._fields)]
        length = arrays[0].shape[1] if arrays else 0
        return _Part(batch.numbers, self._run(batch.arrays), length)

    def _collect(self, pending: _Pending) -> Window:
        """Waits for the device, and brings rows into their order."""
        found, examples, encoded, parts = pending
        if not examples:
            return Window(found, None, ())
        assert encoded.is_cut is not None
        assert encoded.examples is not None
        starts = np.searchsorted(encoded.examples, np.arange(len(examples) + 1))
        kept, rows = self._in_order(parts), encoded.arrays
        results = Results(examples, kept, rows, starts, self._codecs)
        return Window(found, results, encoded.is_cut.tolist())

    def _in_order(self, parts: list[_Part]) -> dict[str, np.ndarray]:
        """Returns what was kept of all rows, in the order of their numbers."""
        numbers = np.concatenate([part.numbers for part in parts])
        each = jax.device_get([part.kept for part in parts])
        order, kept = np.argsort(numbers), {}
        for name in each[0]:
            arrays = [np.asarray(own[name]) for own in each]
            if self._has_positions(name, arrays, parts):
                arrays = [_fill_up(array, self._longest) for array in arrays]
            rows = [a[: len(p.numbers)] for a, p in zip(arrays, parts, strict=True)]
            kept[name] = np.concatenate(rows)[order]
        return kept

    def _has_positions(
        self, name: str, arrays: list[np.ndarray], parts: list[_Part]
    ) -> bool:
        """Returns whether the second axis of what is kept counts positions."""
        lengths = [part.length for part in parts]
        if {self._longest} == {*lengths} or arrays[0].ndim < 2:
            return False  # Nothing was cut.
        if name not in self._by_position:
            sizes = [array.shape[1] for array in arrays]
            found = sizes == lengths
            if found and len({*lengths}) == 1:  # It may be chance.
                found = _follows(self._run, name, self._fields, sizes[0])
            self._by_position[name] = found
        return self._by_position[name]


def _put_in_place(found: list[Item], bad: Mapping[int, BadDocument]) -> list[Item]:
    """Returns what was found, with what is wrong in place of some examples."""
    numbers = itertools.count()
    return [
        bad.get(next(numbers), one) if isinstance(one, Example) else one
        for one in found
    ]


def _follows(run: Run, name: str, fields: Mapping[str, Field], size: int) -> bool:
    """Returns whether an axis has another size than `size` in whole rows."""
    shapes = getattr(run, "shapes", None)
    if shapes is None:
        return False
    whole = {n: field.fill_rows(1) for n, field in fields.items()}
    return shapes(whole)[name].shape[1] != size


def _fill_up(array: np.ndarray, length: int) -> np.ndarray:
    """Returns an array ``[B T ...]`` with zeros behind its positions."""
    missing = [(0, 0), (0, length - array.shape[1])]
    return np.pad(array, missing + [(0, 0)] * (array.ndim - 2))


def choose_shapes(
    encoded: Encoded, fields: Mapping[str, Field], batch_size: int
) -> Shapes:
    """Returns shapes that suit a first window; a small one has a small batch."""
    sizes, longest = measure_rows(encoded.arrays, fields), full_length(fields)
    num_rows = min(batch_size, 1 << (len(sizes) - 1).bit_length())
    if not longest:
        return Shapes(num_rows, ())
    return Shapes(num_rows, choose_lengths(sizes, num_rows, longest))


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
