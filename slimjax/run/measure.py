"""What is kept of the rows of a split, and of examples that have several rows."""

import numpy as np
from jaxtyping import Int, PyTree

from slimjax.data.dataset import Batch, Dataset, spread_rows
from slimjax.nn.axes import to_host
from slimjax.predict.windows import Run
from slimjax.run.answers import owners_of
from slimjax.tasks.answers import sum_by_example
from slimjax.tasks.base import Columns
from slimjax.tasks.error import BY_POSITION
from slimjax.train.config import RunConfig
from slimjax.train.stage import Stage


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
    batches = data.evaluation_batches(split, numbers, batch_size)
    outputs = stage.programs.outputs
    left_out = () if by_position else (BY_POSITION,)

    def measure(batch: Batch) -> Columns:
        found = outputs(variables, stage.put(batch))
        return to_host({n: x for n, x in found.items() if n not in left_out})

    parts = [measure(batch) for batch in batches]
    counts = data.row_counts[split]
    own = {name: np.asarray(each)[numbers] for name, each in counts.items()}
    if not parts:
        return own | {"nats": np.zeros(0), "targets": np.zeros(0)}
    measured = {
        name: np.concatenate([part[name] for part in parts])[: len(numbers)]
        for name in parts[0]
    }
    return own | measured


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
