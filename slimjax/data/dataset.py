"""Rows to learn from, and all that a model and a report must know of them.

A dataset names no task: it has arrays by split and by field, sizes and lengths by name,
and codecs that turn numbers back into what people read. What of a row is an input, and
what a target, is the choice of a task.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Int64, Shaped

from slimjax.data.batches import row_indices
from slimjax.data.tokenizer import Tokenizer
from slimjax.errors import DataError
from slimjax.text.examples import Example

Batch = dict[str, Shaped[np.ndarray, "B ..."]]


@runtime_checkable
class Codec(Protocol):
    """What turns numbers of a field into what people read: a tokenizer, labels."""

    @property
    def fingerprint(self) -> str:
        """Equal for codecs that mean the same."""
        ...

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the codec's own file into `folder`, which exists."""
        ...


@dataclasses.dataclass(frozen=True)
class Field:
    """One array of a batch: the shape of a row, its type, the names of its axes.

    Attributes:
        shape: Shape of one row; ``()`` for one number.
        dtype: Type of the array in a batch. It may be stored in a smaller one.
        axes: A name or None for each axis of a row, such as ``("positions",)``.
        fill: Value of rows that only fill up a batch. It marks what is not a target.
        scale: What stored numbers are multiplied by.
        shift: What is added to them then.

    Examples:
        >>> Field((3,), "int32", ("positions",)).fill_rows(2)
        array([[0, 0, 0],
               [0, 0, 0]], dtype=int32)
    """

    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str | None, ...]
    fill: int | float = 0
    scale: float = 1.0
    shift: float = 0.0

    def decode(self, stored: Shaped[np.ndarray, "B ..."]) -> np.ndarray:
        """Returns stored rows as they stand in a batch."""
        rows = np.asarray(stored).astype(self.dtype)
        if self.scale == 1.0 and self.shift == 0.0:
            return rows
        return rows * rows.dtype.type(self.scale) + rows.dtype.type(self.shift)

    def fill_rows(self, num_rows: int) -> np.ndarray:
        """Returns rows that fill up a batch, ``[num_rows, *shape]``."""
        return np.full((num_rows, *self.shape), self.fill, self.dtype)


@dataclasses.dataclass(frozen=True)
class Outline:
    """What a model must know of data, which may not have been read yet.

    Attributes:
        fields: What the arrays of a batch are.
        sizes: Numbers of kinds, such as ``{"vocab": 2048, "classes": 4}``.
        lengths: Positions of a row, by tower; the main tower is ``""``.
        special: Ids with a meaning of their own: ``pad``, ``bos``, ``eos``, ...
        codecs: Tokenizers and label lists, by field, as far as they are known.
    """

    fields: Mapping[str, Field]
    sizes: Mapping[str, int]
    lengths: Mapping[str, int]
    special: Mapping[str, int]
    codecs: Mapping[str, Codec] = dataclasses.field(default_factory=dict)

    @property
    def length(self) -> int:
        """Positions of a row in the main tower; a row of features has one."""
        return self.lengths.get("", 1)

    @property
    def num_positions(self) -> int:
        """Positions of a row that a model reads, in all towers; 1 without any."""
        return max(sum(self.lengths.values()), 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Rows to learn from, by split and by field, and what they were made from.

    Attributes:
        splits: ``{split: {field: array [R *row]}}``, usually memory maps. Arrays that
            are no field are in no batch: answers need them.
        fields: What the arrays of a batch are.
        sizes: Numbers of kinds, such as ``{"vocab": 2048, "classes": 4}``.
        lengths: Positions of a row, by tower; the main tower is ``""``.
        special: Ids with a meaning of their own: ``pad``, ``bos``, ``eos``, ...
        counts: Totals for the report: ``tokens``, ``bytes``, ``documents`` or
            ``examples`` by split, and ``skipped`` by reason.
        row_counts: ``{split: {"bytes": [R], "targets": [R]}}``: raw UTF-8 bytes and
            targets of each row; with labelled data, also the ``example`` of each row,
            ascending from 0 (an example may have several rows, its windows).
        fingerprint: SHA-256 over all that determines the rows.
        source: Where they came from.
        codecs: Tokenizers and label lists, by field.
        notes: What a user should know of the data: sentences, each one line.
        read_examples: Reads the labelled examples again, with all fields of their
            files, by split, in the order of the numbers in ``row_counts``; None without
            labelled data.
        kinds: Names and kinds of what an example has; empty without labelled data.
    """

    splits: Mapping[str, Mapping[str, np.ndarray]]
    fields: Mapping[str, Field]
    sizes: Mapping[str, int]
    lengths: Mapping[str, int]
    special: Mapping[str, int]
    counts: Mapping[str, Any]
    row_counts: Mapping[str, Mapping[str, np.ndarray]]
    fingerprint: str
    source: str
    codecs: Mapping[str, Codec]
    notes: tuple[str, ...] = ()
    read_examples: Callable[[], Mapping[str, list[Example]]] | None = None
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def outline(self) -> Outline:
        """What a model must know of it."""
        known = self.fields, self.sizes, self.lengths, self.special, self.codecs
        return Outline(*known)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the field ``tokens``.

        Raises:
            DataError: If the dataset holds no text.
        """
        if "tokens" not in self.codecs:
            raise DataError(f"{self.source} holds no text, hence has no tokenizer.")
        return cast(Tokenizer, self.codecs["tokens"])

    def num_rows(self, split: str) -> int:
        """Returns the number of rows of a split; 0 if it was not asked for."""
        return len(next(iter(self.splits[split].values())))

    def rows(self, split: str, numbers: Int64[np.ndarray, " B"]) -> Batch:
        """Returns the rows of these numbers as a batch."""
        arrays = self.splits[split]
        return {
            name: f.decode(arrays[name][numbers]) for name, f in self.fields.items()
        }

    def batch(self, split: str, step: int, batch_size: int, seed: int) -> Batch:
        """Returns the batch of a step, a function of these arguments alone.

        Each row comes once in an epoch, in another order in each epoch.

        Raises:
            DataError: If the split has no rows.
        """
        numbers = row_indices(step, batch_size, self.num_rows(split), seed)
        return self.rows(split, numbers)

    def evaluation_rows(
        self, split: str, limit: int = 0, seed: int = 0
    ) -> Int64[np.ndarray, " _"]:
        """Returns numbers of rows spread over the whole split, in ascending order.

        One is drawn from each of `limit` parts of equal size, so that every file of a
        corpus gets its share.

        Args:
            split: Name of the split.
            limit: Largest number of rows; 0 for all of them.
            seed: Decides which row of each part is drawn.
        """
        return spread_rows(self.num_rows(split), limit, seed)

    def evaluation_batches(
        self, split: str, numbers: Int64[np.ndarray, " M"], batch_size: int
    ) -> Iterator[Batch]:
        """Yields rows once, in order, in batches of one shape.

        The last batch is filled up with rows that hold no target.
        """
        for start in range(0, len(numbers), batch_size):
            batch = self.rows(split, numbers[start : start + batch_size])
            missing = start + batch_size - len(numbers)
            if missing > 0:
                batch = {
                    name: np.concatenate([array, self.fields[name].fill_rows(missing)])
                    for name, array in batch.items()
                }
            yield batch

    def count(
        self, what: str, split: str, numbers: Int64[np.ndarray, " M"] | None = None
    ) -> int:
        """Returns the ``bytes`` or ``targets`` of rows, or of all rows of a split."""
        each = self.row_counts[split][what]
        return int(np.sum(each if numbers is None else each[numbers], dtype=np.int64))


def spread_rows(num_rows: int, limit: int, seed: int) -> Int64[np.ndarray, " _"]:
    """Returns at most `limit` numbers below `num_rows`, spread evenly; 0 for all.

    Examples:
        >>> spread_rows(1000, 4, seed=0)
        array([133, 463, 578, 836])
    """
    if not 0 < limit < num_rows:
        return np.arange(num_rows, dtype=np.int64)
    borders = np.arange(limit + 1, dtype=np.int64) * num_rows // limit
    generator = np.random.default_rng([seed % 2**64, num_rows, limit])
    return generator.integers(borders[:-1], borders[1:], dtype=np.int64)
