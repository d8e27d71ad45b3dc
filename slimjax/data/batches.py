"""Batches of rows: which ones is a function of the step, so a run can resume anywhere.

With ``n = step * batch_size + i`` and R rows, row i of a step is
``perm(seed, n // R)[n % R]``: every row once an epoch, in another order each epoch.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from jaxtyping import Int32, Int64, Integer

from slimjax.errors import DataError

Batch = dict[str, Int32[np.ndarray, "B T"]]


def row_indices(
    step: int, batch_size: int, num_rows: int, seed: int
) -> Int64[np.ndarray, " B"]:
    """Returns which rows a step takes.

    Args:
        step: Number of the step, from 0.
        batch_size: Rows a step, B; it may exceed `num_rows`.
        num_rows: Number of rows, R.
        seed: Any whole number.

    Raises:
        DataError: If there are no rows.
    """
    if num_rows == 0:
        raise DataError("There are no rows to draw a batch from.")
    numbers = int(step) * int(batch_size) + np.arange(batch_size, dtype=np.int64)
    return rows_at(numbers, num_rows, seed)


def rows_of_steps(
    steps: range, batch_size: int, num_rows: int, seed: int
) -> Int64[np.ndarray, " _"]:
    """Returns the rows that steps one after the other take, each once and in order.

    Examples:
        >>> rows_of_steps(range(0, 3), batch_size=2, num_rows=4, seed=0)
        array([0, 1, 2, 3])
    """
    first, last = steps.start * int(batch_size), steps.stop * int(batch_size)
    if last - first >= 2 * num_rows:  # There is a whole epoch among them.
        return np.arange(num_rows)
    numbers = np.arange(first, max(first, last), dtype=np.int64)
    return np.unique(rows_at(numbers, num_rows, seed))


def make_batch(
    rows: Integer[np.ndarray, "R T"], step: int, batch_size: int, seed: int
) -> Batch:
    """Returns the batch of a step: ``{"tokens": int32 [B, T]}``."""
    indices = row_indices(step, batch_size, len(rows), seed)
    return {"tokens": rows[indices].astype(np.int32)}


def iterate_rows(
    rows: Integer[np.ndarray, "R T"], batch_size: int, *, pad_id: int
) -> Iterator[Batch]:
    """Yields all rows once, in order, in batches of one shape, for evaluation.

    The last batch is filled up with rows of `pad_id`.
    """
    for start in range(0, len(rows), batch_size):
        taken = rows[start : start + batch_size].astype(np.int32)
        tokens = np.full((batch_size, rows.shape[1]), pad_id, np.int32)
        tokens[: len(taken)] = taken
        yield {"tokens": tokens}


def rows_at(
    numbers: Int64[np.ndarray, " M"], num_rows: int, seed: int, *words: int
) -> Int64[np.ndarray, " M"]:
    """Returns the rows that stand at places of the endless sequence of epochs.

    Args:
        numbers: The places, from 0.
        num_rows: Rows of an epoch, R.
        seed: Any whole number.
        *words: More numbers, for another order of the same rows.
    """
    epochs, places = np.divmod(numbers, num_rows)
    rows = np.empty(len(numbers), np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        order = _permute(num_rows, int(seed), int(epoch), *words)
        rows[here] = order[places[here]]
    return rows


@lru_cache(maxsize=16)
def _permute(
    num_rows: int, seed: int, epoch: int, *words: int
) -> Integer[np.ndarray, " R"]:
    """Returns the order of an epoch; shared, hence not to be written to."""
    generator = np.random.default_rng([seed % 2**64, epoch, *words])
    dtype = np.uint32 if num_rows < 2**32 else np.uint64  # Half the memory.
    order = generator.permutation(num_rows).astype(dtype)
    order.setflags(write=False)
    return order
