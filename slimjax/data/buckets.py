"""Rows by length: a batch holds rows of one bucket, cut to the length of the bucket.

Each bucket is an endless stream of its rows, every row once in an epoch of the bucket,
in another order each epoch; a batch takes the next B of them. After e epochs bucket b,
which has R(b) rows, has given floor(e R(b) / B) batches. The batches of an epoch come
in an order drawn from (seed, epoch). So the rows of a step are a function of (seed,
step), as without buckets.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from slimjax.data.batches import rows_at
from slimjax.data.outline import POSITIONS, Field, scale_length

_ROWS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Buckets:
    """The rows of the training split, by length.

    Attributes:
        lengths: Length of each bucket in the main tower, ascending. The last one is
            that of whole rows; other towers are cut in proportion.
        rows: Numbers of the rows of each bucket.
    """

    lengths: tuple[int, ...]
    rows: tuple[Int64[np.ndarray, " _"], ...]

    def choose(
        self, step: int, batch_size: int, seed: int
    ) -> tuple[int, Int64[np.ndarray, " B"]]:
        """Returns the length of a step's bucket, and the numbers of its rows.

        Args:
            step: Number of the step, from 0.
            batch_size: Rows a step, B.
            seed: Any whole number.
        """
        counts = tuple(len(rows) for rows in self.rows)
        epoch = _find_epoch(step, batch_size, counts)
        place = step - _count_batches(epoch, batch_size, counts)
        order = _order(counts, batch_size, seed, epoch)
        bucket = int(order[place])
        before = epoch * counts[bucket] // batch_size
        number = before + int(np.sum(order[:place] == bucket))
        places = number * batch_size + np.arange(batch_size, dtype=np.int64)
        own = self.rows[bucket]
        return self.lengths[bucket], own[rows_at(places, len(own), seed, bucket)]

    def mean_length(self, whole: int) -> int:
        """Returns the mean length of a row of training batches, rounded.

        Args:
            whole: Length of whole rows, in any tower.
        """
        counts = [len(rows) for rows in self.rows]
        lengths = [scale_length(whole, each, self.lengths[-1]) for each in self.lengths]
        return max(round(float(np.average(lengths, weights=counts))), 1)

    def describe(self) -> str:
        """Returns the buckets and their rows, for a note."""
        parts = [
            f"{len(rows):,} up to {length}"
            for length, rows in zip(self.lengths, self.rows, strict=True)
        ]
        return f"Rows of train by length: {', '.join(parts)} tokens."


def make_buckets(
    lengths: Sequence[int],
    fields: Mapping[str, Field],
    arrays: Mapping[str, np.ndarray],
) -> Buckets:
    """Returns the buckets of rows.

    Args:
        lengths: Lengths of the main tower, ascending, the last one that of whole rows.
        fields: What the arrays of a batch are.
        arrays: The rows of the training split, by field.
    """
    whole = lengths[-1]
    own = {name: f for name, f in fields.items() if POSITIONS in f.axes}
    num_rows = len(next(iter(arrays.values())))
    needed = np.zeros(num_rows, np.int64)  # The bucket of each row.
    for name, field in own.items():
        ends = [scale_length(_length(field), each, whole) for each in lengths]
        content = count_content(arrays[name], field)
        needed = np.maximum(needed, np.searchsorted(ends, content))
    return Buckets(
        tuple(lengths), tuple(np.flatnonzero(needed == b) for b in range(len(lengths)))
    )


def count_content(rows: np.ndarray, field: Field) -> Int64[np.ndarray, " R"]:
    """Returns the positions of each row up to the last one that is no filling.

    Examples:
        >>> field = Field((4,), "int32", ("positions",), fill=0)
        >>> count_content(np.array([[5, 0, 7, 0], [0, 0, 0, 0]]), field)
        array([3, 0])
    """
    axis = 1 + field.axes.index(POSITIONS)
    found = [np.zeros(0, np.int64)]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = np.asarray(rows[start : start + _ROWS_AT_ONCE])
        is_full = np.moveaxis(part != field.fill, axis, 1)
        is_full = is_full.reshape(*is_full.shape[:2], -1).any(-1)
        places = 1 + np.arange(is_full.shape[1])
        found.append(np.where(is_full, places, 0).max(axis=1))
    return np.concatenate(found)


def _length(field: Field) -> int:
    return field.shape[field.axes.index(POSITIONS)]


def _count_batches(epoch: int, batch_size: int, counts: tuple[int, ...]) -> int:
    """Returns the batches of all epochs before one."""
    return sum(epoch * count // batch_size for count in counts)


def _find_epoch(step: int, batch_size: int, counts: tuple[int, ...]) -> int:
    epoch = step * batch_size // sum(counts)  # No later one can be meant.
    while _count_batches(epoch + 1, batch_size, counts) <= step:
        epoch += 1
    return epoch


@lru_cache(maxsize=4)
def _order(
    counts: tuple[int, ...], batch_size: int, seed: int, epoch: int
) -> Int64[np.ndarray, " N"]:
    """Returns the bucket of each batch of an epoch; shared, not to be written to."""
    own = [
        (epoch + 1) * count // batch_size - epoch * count // batch_size
        for count in counts
    ]
    generator = np.random.default_rng([seed % 2**64, epoch, len(counts)])
    order = generator.permutation(np.repeat(np.arange(len(counts)), own))
    order.setflags(write=False)
    return order
