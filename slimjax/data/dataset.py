"""Rows to learn from, and all that a model and a report must know of them.

A dataset names no task: it has arrays by split and by field, sizes and lengths by name,
and codecs that turn numbers back into what people read. What of a row is an input, and
what a target, is the choice of a task.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
from jaxtyping import Int64, Shaped

from slimjax.data.batches import row_indices
from slimjax.data.buckets import Buckets
from slimjax.data.mixture import Mixture
from slimjax.data.outline import Codec, Field, Outline
from slimjax.data.rows_of_images import RowsOfImages
from slimjax.data.tokenizer import Tokenizer
from slimjax.errors import DataError
from slimjax.text.examples import Example

Batch = dict[str, Shaped[np.ndarray, "B ..."]]


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
        buckets: The rows of train by length; None if all batches have whole rows.
        mixture: The rows of train by domain; None if each comes once in an epoch.
        tables: By field, ``[N *row]``: then the arrays of the field in `splits` are
            numbers of its rows. An image of many rows is stored once.
        documents: Of held-out splits whose rows are a stream of documents: tokens, eos
            counted, and raw bytes of each document, ``[D 2]``. Empty otherwise.
        encode: Makes rows of examples, as `slimjax.data.encoding.Encoded`; None
            without labelled data.
        together: Chooses the rows of training batches where those of one image stand
            together; None where every row is by itself.
        change: Changes a batch of training, given its row numbers, the step and the
            seed; None where rows stay as they are.
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
    buckets: Buckets | None = None
    mixture: Mixture | None = None
    tables: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    documents: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    encode: Callable[[list[Example]], Any] | None = None
    together: RowsOfImages | None = None
    change: Callable[[Batch, Int64[np.ndarray, " B"], int, int], Batch] | None = None

    @property
    def outline(self) -> Outline:
        """What a model must know of it."""
        known = self.fields, self.sizes, self.lengths, self.special, self.codecs
        if self.buckets is None:
            return Outline(*known)
        mean = {n: self.buckets.mean_length(size) for n, size in self.lengths.items()}
        return Outline(*known, buckets=self.buckets.lengths, mean_lengths=mean)

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
        arrays, batch = self.splits[split], {}
        for name, field in self.fields.items():
            stored = arrays[name][numbers]
            if name in self.tables:
                stored = self.tables[name][stored]
            batch[name] = field.decode(stored)
        return batch

    def row_numbers(
        self, split: str, step: int, batch_size: int, seed: int
    ) -> Int64[np.ndarray, " B"]:
        """Returns the rows of a step without buckets.

        Each row comes once in an epoch, in another order in each epoch; in training
        domains may have other shares (see `Mixture`).

        Raises:
            DataError: If the split has no rows.
        """
        if self.mixture is not None and split == "train":
            return self.mixture.choose(step, batch_size, seed)
        return row_indices(step, batch_size, self.num_rows(split), seed)

    def batch(self, split: str, step: int, batch_size: int, seed: int) -> Batch:
        """Returns the batch of a step, a function of these arguments alone.

        Raises:
            DataError: If the split has no rows.
        """
        return self.rows(split, self.row_numbers(split, step, batch_size, seed))

    def training_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """Returns the batch of a step of training, cut to the length of its bucket.

        Without buckets it is the `batch` of the split ``train``, or rows that stand
        `together`, changed if rows are.

        Raises:
            DataError: If the split has no rows.
        """
        if self.buckets is None:
            numbers = self._choose(step, batch_size, seed)
            rows = self.rows("train", numbers)
            return self.change(rows, numbers, step, seed) if self.change else rows
        length, numbers = self.buckets.choose(step, batch_size, seed)
        whole, rows = self.buckets.lengths[-1], self.rows("train", numbers)
        return {
            n: f.cut(length, whole).cut_rows(rows[n]) for n, f in self.fields.items()
        }

    def measured_batch(self, step: int, batch_size: int, seed: int) -> Batch:
        """Returns training rows to measure on: all positions of them, and unchanged.

        Raises:
            DataError: If the split has no rows.
        """
        return self.rows("train", self._choose(step, batch_size, seed))

    def _choose(self, step: int, batch_size: int, seed: int) -> Int64[np.ndarray, " B"]:
        """Returns the training rows of a step where there are no buckets."""
        if self.together is not None:
            return self.together.choose(step, batch_size, seed)
        return self.row_numbers("train", step, batch_size, seed)

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
