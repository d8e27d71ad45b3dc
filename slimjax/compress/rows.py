"""Rows of text as a model reads them, and residual streams of all of them.

Both are cut into the same batches.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from slimjax.models.context import Context
from slimjax.trees import Path

BATCH_TOKENS = 4096
"""Positions that go through a layer at a time."""

OF_MEMORY = (("cross", "key"), ("cross", "value"))
"""Weights within a layer that read another tower's stream, the memory."""


class Rows(NamedTuple):
    """Text as a model reads it.

    Attributes:
        inputs: Arrays ``[R ...]`` by the names that the model reads.
        targets: What is to be answered, int32 ``[R T]``, or ``[R]``; or the vectors
            that are to be kept, float32 ``[R D]``.
        weights: 1 for what counts, ``[R T]`` or ``[R]``.
    """

    inputs: Mapping[str, np.ndarray]
    targets: np.ndarray
    weights: np.ndarray

    @property
    def num_rows(self) -> int:
        """Number of rows, R."""
        return len(self.targets)

    @property
    def length(self) -> int:
        """Positions of a row, T; those of the longest input."""
        return max(values.shape[1] for values in self.inputs.values())

    @property
    def num_targets(self) -> float:
        """Number of targets that count."""
        return float(self.weights.sum())

    def spread(self, num_rows: int) -> np.ndarray:
        """Returns numbers of rows that are spread evenly over these."""
        chosen = np.linspace(0, self.num_rows - 1, min(num_rows, self.num_rows))
        return np.unique(chosen.round().astype(int))

    def at(self, rows: Any) -> "Rows":
        """Returns some rows, by their numbers or as a slice."""
        inputs = {name: values[rows] for name, values in self.inputs.items()}
        return Rows(inputs, self.targets[rows], self.weights[rows])

    def batches(self, num_rows: int = 0) -> Iterator["Rows"]:
        """Yields these rows in batches of about `BATCH_TOKENS` positions."""
        size = num_rows or max(1, BATCH_TOKENS // self.length)
        for start in range(0, self.num_rows, size):
            yield self.at(slice(start, start + size))


class Text(NamedTuple):
    """Rows, and the raw bytes that their targets stand for; 0 where they are none."""

    rows: Rows
    num_bytes: float = 0.0


class Streams(NamedTuple):
    """The residual stream of all rows at one place, in batches.

    Attributes:
        values: float32 ``[B T D]`` of each batch; see `slimjax.compress.sums.at_rest`.
        contexts: What layers are given beside it.
    """

    values: list[np.ndarray]
    contexts: list[Context]

    def mask(self, i: int, path: Path = ()) -> Float[np.ndarray, "B T"]:
        """Returns 1 for the positions of a batch that are no padding.

        Args:
            i: Number of the batch.
            path: The weight within a layer that reads them: keys and values of
                cross-attention read those of the memory.
        """
        context, values = self.contexts[i], self.values[i]
        segments = context.segments
        if path in OF_MEMORY:
            values, segments = context.memory, context.memory_segments
        if segments is None:
            return np.ones(values.shape[:2], np.float32)
        return (np.asarray(segments) > 0).astype(np.float32)

    def num_positions(self, path: Path = ()) -> float:
        """Returns the number of positions that are no padding."""
        return float(sum(self.mask(i, path).sum() for i in range(len(self.values))))

    def rows(self, numbers: np.ndarray) -> Float[np.ndarray, "R T D"]:
        """Returns the stream of some rows."""
        starts = np.cumsum([0, *map(len, self.values)])
        batches = np.searchsorted(starts, numbers, side="right") - 1
        pairs = zip(batches, numbers - starts[batches], strict=True)
        return np.stack([np.asarray(self.values[b][row]) for b, row in pairs])

    def with_rows(self, rows: Float[np.ndarray, "R T D"]) -> "Streams":
        """Returns streams of as many rows with other values."""
        ends = np.cumsum([len(values) for values in self.values])[:-1]
        return Streams(np.split(rows, ends), self.contexts)
