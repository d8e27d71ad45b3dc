"""What is kept of the rows of a split, and of examples that have several rows."""

import math
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np
from jaxtyping import Int, PyTree

from slimjax.data.dataset import Batch, Dataset, spread_rows
from slimjax.nn.axes import to_host
from slimjax.predict.windows import Run
from slimjax.run.answers import owners_of
from slimjax.tasks.answers import sum_by_example
from slimjax.tasks.base import Columns
from slimjax.tasks.error import BY_POSITION
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import RunConfig
from slimjax.train.stage import Stage

MANY_BATCHES = 2048
"""Batches of training size from which on whole splits are measured in larger ones."""

MAX_NUMBERS = 1 << 13
"""Most positions of a larger batch, or numbers of one of its fields."""

MAX_LOGITS = 1 << 25
"""Most logits of a larger batch."""


def choose_rows(
    data: Dataset, split: str, max_rows: int, seed: int
) -> Int[np.ndarray, " _"]:
    """Returns rows spread over a split; of examples with several rows, all rows."""
    owners = owners_of(data, split)
    if owners is None or not 0 < max_rows < len(owners):
        return data.evaluation_rows(split, max_rows, seed)
    num_examples = int(owners[-1]) + 1
    limit = max(max_rows * num_examples // len(owners), 1)
    return np.flatnonzero(np.isin(owners, spread_rows(num_examples, limit, seed)))


def measure_rows(
    stage: Stage,
    variables: PyTree,
    data: Dataset,
    split: str,
    numbers: np.ndarray,
    *,
    by_position: bool = False,
) -> Columns:
    """Returns what is kept of each of some rows, and the dataset's counts of them.

    What answers need stands there too (see `slimjax.tasks.error.KEPT`).

    Args:
        stage: Has the compiled evaluation.
        variables: The model's.
        data: Where the rows are from.
        split: Its name.
        numbers: The rows.
        by_position: Whether to keep the loss of each position, where there is one.
    """
    batch_size = stage.blueprint.run.data.batch_size
    if len(numbers) == data.num_rows(split):
        batch_size = choose_batch_size(stage.blueprint, data)
    outputs = stage.programs.outputs_of(batch_size)
    left_out = () if by_position else (BY_POSITION,)

    def send(batch: Batch) -> dict[str, jax.Array]:
        found = outputs(variables, stage.put(batch))
        return {n: x for n, x in found.items() if n not in left_out}

    batches = data.evaluation_batches(split, numbers, batch_size)
    parts = list(_read_in_turn(send, batches))
    counts = data.row_counts[split]
    own = {name: np.asarray(each)[numbers] for name, each in counts.items()}
    if not parts:
        return own | {"nats": np.zeros(0), "targets": np.zeros(0)}
    measured = {
        name: np.concatenate([part[name] for part in parts])[: len(numbers)]
        for name in parts[0]
    }
    return own | measured


def choose_batch_size(blueprint: Blueprint, data: Dataset) -> int:
    """Returns how many rows of a whole split are measured at once.

    Small batches cost more to send than to compute. Where there are many, larger ones
    pay for another program: a multiple of those of training, which a mesh can divide,
    and the same for both held-out splits. A loss that depends on the rows of the batch
    keeps the batch of training.

    Args:
        blueprint: That of the model.
        data: Where the rows are from.
    """
    own, outline = blueprint.run.data.batch_size, blueprint.outline
    rows = sum(data.num_rows(split) for split in data.splits if split != "train")
    depends_on_batch = any(head.loss == "contrast" for head in blueprint.model.heads)
    if depends_on_batch or rows < MANY_BATCHES * own:
        return own
    positions = max(sum(outline.lengths.values()), 1)
    numbers = max(positions, *(math.prod(f.shape) for f in outline.fields.values()))
    logits = positions * max(head.answers for head in blueprint.model.heads)
    most = min(MAX_NUMBERS // numbers, MAX_LOGITS // logits, rows)
    return max(most // own, 1) * own


def _read_in_turn(
    send: Callable[[Batch], dict[str, jax.Array]], batches: Iterable[Batch]
) -> Iterator[Columns]:
    """Yields what is kept of batches; the next one is sent before one is read."""
    sent: dict[str, jax.Array] | None = None
    for batch in batches:
        before, sent = sent, send(batch)
        if before is not None:
            yield to_host(before)
    if sent is not None:
        yield to_host(sent)


def write_all(
    run: RunConfig, data: Dataset, split: str, numbers: np.ndarray, write: Run
) -> Columns:
    """Returns what is written for each of some rows."""
    batches = data.evaluation_batches(split, numbers, run.data.batch_size)
    parts = [write(batch) for batch in batches]
    return {n: np.concatenate([p[n] for p in parts])[: len(numbers)] for n in parts[0]}


def by_example(
    data: Dataset, split: str, numbers: np.ndarray, columns: Columns
) -> dict[str, np.ndarray]:
    """Returns columns by example: sums over rows, where there are several."""
    own = {name: column for name, column in columns.items() if name != "example"}
    owners = owners_of(data, split)
    if owners is None:
        return own
    starts = np.unique(owners[numbers], return_index=True)[1]
    bounds = np.append(starts, len(numbers))
    return {name: sum_by_example(column, bounds) for name, column in own.items()}
