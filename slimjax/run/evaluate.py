"""Error and metrics on held-out rows, exactly: what is kept of each row is summed."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax import tasks
from slimjax.data.dataset import Dataset
from slimjax.errors import DataError
from slimjax.generate.model import load
from slimjax.mesh.mesh import mesh_here
from slimjax.metrics.bootstrap import estimate
from slimjax.nn.axes import to_host
from slimjax.run.blueprints import make_task
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.base import Columns, Task, nats_per_target
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import make_run_config
from slimjax.train.stage import Stage, make_stage


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a model is worth on a split.

    Attributes:
        error: Mean loss, nats per target.
        metrics: The task's metrics by key, the headline first.
        num_targets: Targets counted.
        intervals: Ends of each metric's bootstrap interval over rows, where asked for.
    """

    error: float
    metrics: Mapping[str, float]
    num_targets: int
    intervals: Mapping[str, tuple[float, float]] = dataclasses.field(
        default_factory=dict
    )


def evaluate(
    stage: Stage,
    variables: PyTree,
    data: Dataset,
    split: str,
    max_rows: int = 0,
    *,
    intervals: bool = False,
) -> Evaluation:
    """Returns error and metrics on a split, or on `max_rows` rows spread over it.

    Args:
        stage: Has the compiled evaluation.
        variables: The model's.
        data: Where the rows are from.
        split: Its name.
        max_rows: Most rows that are read; 0 for all.
        intervals: Whether intervals are computed, by 1,000 resamples of the rows.
    """
    run, task = stage.blueprint.run, stage.blueprint.task
    numbers = data.evaluation_rows(split, max_rows, run.seed)
    columns = measure_rows(stage, variables, data, split, numbers)
    values = {metric.key: float(metric.of(columns)) for metric in task.metrics}
    return Evaluation(
        error=float(nats_per_target(columns)),
        metrics=values,
        num_targets=int(np.sum(columns["targets"])),
        intervals=_intervals(task, columns, run.seed) if intervals else {},
    )


def measure_rows(
    stage: Stage, variables: PyTree, data: Dataset, split: str, numbers: np.ndarray
) -> Columns:
    """Returns what is kept of each of some rows, and the dataset's counts of them."""
    batches = data.evaluation_batches(
        split, numbers, stage.blueprint.run.data.batch_size
    )
    outputs = stage.programs.outputs
    parts = [to_host(outputs(variables, stage.put(batch))) for batch in batches]
    counts = data.row_counts[split]
    own = {name: np.asarray(each)[numbers] for name, each in counts.items()}
    if not parts:
        return own | {"nats": np.zeros(0), "targets": np.zeros(0)}
    measured = {
        name: np.concatenate([part[name] for part in parts])[: len(numbers)]
        for name in parts[0]
    }
    return own | measured


def _intervals(
    task: Task, columns: Columns, seed: int
) -> dict[str, tuple[float, float]]:
    metrics = {metric.key: metric.of for metric in task.metrics}
    found = estimate(metrics, columns, seed=seed)
    return {key: (float(e.low), float(e.high)) for key, e in found.items()}


def evaluate_folder(
    workdir: str | Path, *, source: str | None, split: str
) -> dict[str, Any]:
    """Returns the error of a run's model on its own split, or on other data.

    Args:
        workdir: The run folder.
        source: Other data, or None for the run's own.
        split: ``valid``, ``test``, or ``all`` documents of other data.

    Raises:
        SlimjaxError: If the run, the data or the split is not there.
    """
    model = load(workdir)
    config = read_json(RunFolder(workdir).config, dict)
    if source is not None:
        config["data"]["source"] = source
    run = make_run_config(config, is_stored=True)
    run = dataclasses.replace(run, mesh=mesh_here(run.mesh))
    everything, task_file = split == "all", tasks.get(run.task)
    options = dict(codecs=model.codecs, all_valid=everything)
    data = task_file.load(run.data, head=run.head, **options)
    part = "valid" if everything else split
    if not data.num_rows(part):
        raise DataError(f"{run.data.source} has nothing in its {split} split.")
    task = make_task(run, data.outline)
    stage = make_stage(Blueprint(run, task, model.config, data.outline))
    variables = stage.unrounded(stage.place(model.params))
    found = evaluate(stage, variables, data, part, intervals=True)
    return {
        "source": run.data.source,
        "split": split,
        "nats_per_target": found.error,
        **found.metrics,
        "num_targets": found.num_targets,
        "intervals": {key: list(ends) for key, ends in found.intervals.items()},
    }
