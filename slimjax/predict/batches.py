"""Rows in batches of few shapes: rows of like length together, padding cut off.

Most of a row of `seq_len` positions is padding where texts are short, and a model
computes it all the same. So rows are sorted by length inside a window of examples, and
each batch is cut to one of a few lengths. The order of rows is restored afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from slimjax.data.dataset import Field

Rows = Mapping[str, np.ndarray]
Lengths = tuple[int, ...]

MULTIPLE = 8
"""Lengths of batches are multiples of this."""
MAX_LENGTHS = 4
"""Most lengths that a source gets, beside the full one: each is compiled."""
BATCHES_PER_LENGTH = 4
"""A further length is taken for so many batches: fewer do not pay for a compilation."""


class Batch(NamedTuple):
    """Rows of one shape.

    Attributes:
        arrays: The fields, ``[B *row]``, positions cut to the batch's length.
        numbers: Which rows these are, ``[n]``; the other ``B - n`` only fill up.
    """

    arrays: dict[str, np.ndarray]
    numbers: Int[np.ndarray, " n"]


def measure_rows(rows: Rows, fields: Mapping[str, Field]) -> Int[np.ndarray, " R"]:
    """Returns up to which position each row holds something; 0 without positions.

    Examples:
        >>> fields = {"tokens": Field((4,), "int32", ("positions",))}
        >>> measure_rows({"tokens": np.array([[5, 0, 6, 0], [0, 0, 0, 0]])}, fields)
        array([3, 0])
    """
    length = np.zeros(_num_rows(rows, fields), np.int64)
    for name, field in with_positions(fields).items():
        there = rows[name] != field.fill
        there = there.reshape(*there.shape[:2], -1).any(-1)
        last = there.shape[1] - np.argmax(there[:, ::-1], axis=1)
        length = np.maximum(length, np.where(there.any(1), last, 0))
    return length


def choose_lengths(
    lengths: Int[np.ndarray, " R"], batch_size: int, longest: int
) -> Lengths:
    """Returns the lengths of batches with which the least padding is computed.

    Args:
        lengths: Those of the rows of a first window.
        batch_size: Rows of a batch.
        longest: Positions of a whole row.

    Returns:
        Ascending; the last one is `longest`.

    Examples:
        >>> choose_lengths(np.arange(1, 65), batch_size=4, longest=128)
        (16, 32, 48, 64, 128)
        >>> choose_lengths(np.arange(1, 65), batch_size=64, longest=128)
        (64, 128)
    """
    most = np.sort(lengths)[::-1][::batch_size][::-1]  # The longest row of each batch.
    rounded = np.minimum(-(-np.maximum(most, 1) // MULTIPLE) * MULTIPLE, longest)
    values, counts = np.unique(rounded, return_counts=True)
    number = min(MAX_LENGTHS, max(1, len(most) // BATCHES_PER_LENGTH))
    number += int(values[-1]) == longest  # It is there anyhow.
    return tuple(sorted({*_cover(values.tolist(), counts.tolist(), number), longest}))


def make_batches(
    rows: Rows, fields: Mapping[str, Field], batch_size: int, lengths: Lengths
) -> Iterator[Batch]:
    """Yields all rows once, in batches of `batch_size` rows of like length.

    Args:
        rows: Arrays ``[R *row]``, as they are stored.
        fields: Which of them a batch holds.
        batch_size: Rows of a batch, B; the last one is filled up.
        lengths: Lengths that batches may have, ascending.
    """
    sizes = measure_rows(rows, fields)
    order = np.argsort(sizes, kind="stable")
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        longest = int(sizes[numbers].max())
        length = next((each for each in lengths if each >= longest), None)
        yield Batch(_gather(rows, fields, numbers, batch_size, length), numbers)


def full_length(fields: Mapping[str, Field]) -> int:
    """Returns the positions of a whole row; 0 if no field has positions."""
    found = [field.shape[0] for field in with_positions(fields).values()]
    return max(found, default=0)


def _gather(
    rows: Rows,
    fields: Mapping[str, Field],
    numbers: Int[np.ndarray, " n"],
    batch_size: int,
    length: int | None,
) -> dict[str, np.ndarray]:
    """Returns some rows as a batch, cut to a length."""
    arrays, missing = {}, batch_size - len(numbers)
    for name, field in fields.items():
        array = field.decode(rows[name][numbers])
        if missing:
            array = np.concatenate([array, field.fill_rows(missing)])
        if length is not None and field.axes[:1] == ("positions",):
            array = array[:, :length]
        arrays[name] = np.ascontiguousarray(array)
    return arrays


def _cover(values: Sequence[int], counts: Sequence[int], number: int) -> Sequence[int]:
    """Returns at most `number` of the values, so that rounding up to them costs least.

    By dynamic programming: ``best[j]`` is the least cost of the first j values, the
    last of which is chosen, with the choices made so far.
    """
    totals = np.concatenate([[0], np.cumsum(counts)])
    best: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for _ in range(number):
        found = dict(best)
        for end, value in enumerate(values, start=1):
            options = [
                (cost + value * int(totals[end] - totals[start]), (*chosen, value))
                for start, (cost, chosen) in best.items()
                if start < end
            ]
            found[end] = min([*options, *([best[end]] if end in best else [])])
        best = found
    return best[len(values)][1]


def with_positions(fields: Mapping[str, Field]) -> dict[str, Field]:
    """Returns the fields whose rows begin with an axis of positions."""
    return {n: f for n, f in fields.items() if f.axes[:1] == ("positions",)}


def _num_rows(rows: Rows, fields: Mapping[str, Field]) -> int:
    return len(rows[next(iter(fields))])
