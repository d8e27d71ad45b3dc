"""Error and metrics on held-out rows, exactly: what is kept of each row is summed."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax import tasks
from slimjax.data.dataset import Dataset
from slimjax.data.domain_config import PLAIN
from slimjax.errors import ConfigError, DataError
from slimjax.generate.endings import ends_of
from slimjax.generate.model import load
from slimjax.generate.rows import make_row_writer
from slimjax.mesh.mesh import mesh_here
from slimjax.metrics.bootstrap import estimate
from slimjax.metrics.extra import describe_left_out, is_known
from slimjax.models.config import ModelConfig
from slimjax.predict.windows import Run
from slimjax.run.answered_images import write_images
from slimjax.run.answers import Answered, answer_rows
from slimjax.run.blueprints import make_task
from slimjax.run.domains import measure_domains
from slimjax.run.evaluation import (
    Evaluation,
    describe_split,
    input_names,
    write_files,
    write_losses_of,
)
from slimjax.run.losses import find_losses
from slimjax.run.measure import by_example, choose_rows, measure_rows, write_all
from slimjax.store.files import read_json
from slimjax.store.run_folder import IMPORTED, RunFolder
from slimjax.tasks.base import Columns, Metric, Task, nats_per_target
from slimjax.tasks.error import KEPT
from slimjax.tasks.spelling import with_bytes
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import RunConfig, make_run_config
from slimjax.train.stage import Stage, make_stage


def evaluate(
    stage: Stage,
    variables: PyTree,
    data: Dataset,
    split: str,
    max_rows: int = 0,
    *,
    intervals: bool = False,
    answers: bool = False,
    losses: bool = False,
    write: Run | None = None,
) -> Evaluation:
    """Returns error and metrics on a split, or on `max_rows` rows spread over it.

    Where examples have several rows, whole examples are read.

    Args:
        stage: Has the compiled evaluation.
        variables: The model's.
        data: Where the rows are from.
        split: Its name.
        max_rows: Most rows that are read; 0 for all.
        intervals: Whether intervals are computed, by 1,000 resamples of the examples.
        answers: Whether answers are asked for. Otherwise they are made only where
            metrics need them.
        losses: Whether the loss of each document or example is asked for, and what
            is measured of each domain.
        write: Writes the rows of a batch, for a task that generates; without it, such
            a task gives no answers here.
    """
    run, task = stage.blueprint.run, stage.blueprint.task
    asks, needs = answers, any(metric.from_answers for metric in task.metrics)
    answers = can_answer(task, data, write) and (asks or needs)
    numbers = choose_rows(data, split, max_rows, run.seed)
    if not len(numbers):
        return nothing_measured(task)
    measured = measure_rows(stage, variables, data, split, numbers, by_position=losses)
    columns = dict(measured)
    kept = {n.removeprefix(KEPT): c for n, c in columns.items() if n.startswith(KEPT)}
    columns = {n: c for n, c in columns.items() if not n.startswith(KEPT)}
    columns, answered = by_example(data, split, numbers, columns), None
    found = find_losses(data, split, measured, columns) if losses else None
    if answers:
        kept = kept if write is None else write_all(run, data, split, numbers, write)
        answered, counted = _answer(task, data, split, numbers, kept, columns)
        columns |= counted
    metrics = [m for m in task.metrics if answered or not m.from_answers]
    metrics = [metric for metric in metrics if is_known(metric.key)]
    return Evaluation(
        error=float(nats_per_target(columns)),
        metrics={metric.key: float(metric.of(columns)) for metric in metrics},
        num_targets=int(np.sum(columns["targets"])),
        intervals=_intervals(metrics, columns, run.seed) if intervals else {},
        answered=answered,
        losses=found,
        notes=describe_answers(task, answered) if answered else {},
        tables=make_tables(task, answered, run.seed) if asks and answered else {},
        domains=measure_domains(data, split, numbers, columns, metrics)
        if losses
        else (),
    )


def nothing_measured(task: Task) -> Evaluation:
    """Returns what is known of what was not measured: the names of the metrics."""
    keys = [metric.key for metric in task.metrics if is_known(metric.key)]
    return Evaluation(math.nan, dict.fromkeys(keys, math.nan), 0)


def can_answer(task: Task, data: Dataset, write: Run | None) -> bool:
    """Whether examples can be answered in an evaluation."""
    if task.answer is None or data.read_examples is None:
        return False
    return task.predict is not None or write is not None


def describe_answers(task: Task, answered: Answered) -> dict[str, str]:
    """Returns how answers were measured, and which metrics lack their library."""
    left_out = describe_left_out(tuple(metric.key for metric in task.metrics))
    notes = {} if task.describe is None else task.describe(answered.examples)
    return notes | ({"left_out": left_out} if left_out else {})


def make_tables(task: Task, answered: Answered, seed: int) -> dict[str, Any]:
    """Returns what a task counts of its answers by class; nothing without classes."""
    if task.by_class is None or not answered.answers:
        return {}
    return task.by_class(answered.answers, answered.examples, seed)


def _answer(
    task: Task,
    data: Dataset,
    split: str,
    numbers: np.ndarray,
    kept: Columns,
    columns: Columns,
) -> tuple[Answered, dict[str, np.ndarray]]:
    """Returns the answers, and the columns that are counted from them."""
    examples, found = answer_rows(task, data, split, numbers, kept)
    targets = columns["targets"]
    nats = np.asarray(columns["nats"], np.float64)
    loss = np.divide(nats, targets, out=np.full_like(nats, np.nan), where=targets > 0)
    counted = {} if task.score is None else task.score(found, examples)
    return Answered(examples, found, loss), counted


def _intervals(
    metrics: Sequence[Metric], columns: Columns, seed: int
) -> dict[str, tuple[float, float]]:
    functions = {metric.key: metric.of for metric in metrics}
    found = estimate(functions, columns, seed=seed)
    return {key: (float(e.low), float(e.high)) for key, e in found.items()}


def evaluate_folder(
    workdir: str | Path, *, source: str | None, split: str
) -> dict[str, Any]:
    """Returns the error of a run's model on its own split, or on other data.

    The same goes into ``metrics-SPLIT.json`` of the run folder, and the answers, if the
    task gives any, into ``predictions-SPLIT.jsonl``; of other data, SPLIT is ``data``.

    Args:
        workdir: The run folder.
        source: Other data, or None for the run's own.
        split: ``valid``, ``test``, or ``all`` documents of other data.

    Raises:
        SlimjaxError: If the run, the data or the split is not there.
    """
    folder = RunFolder(workdir)
    _check_has_data(folder, source)
    model, config = load(workdir), read_json(folder.config, dict)
    if source is not None:
        config["data"] |= {**PLAIN, "source": source}
        config["data"] |= {"valid_source": "", "test_source": ""}
    run = make_run_config(config, is_stored=True)
    run = dataclasses.replace(run, mesh=mesh_here(run.mesh))
    everything, task_file = split == "all", tasks.get(run.task)
    options = dict(codecs=model.codecs, all_valid=everything)
    data = task_file.load(run.data, head=run.head, **options)
    part = "valid" if everything else split
    if not data.num_rows(part):
        hint = "" if source is None else " Take --split=all for all of it."
        raise DataError(f"{run.data.source} has nothing in its {split} split.{hint}")
    task = with_bytes(make_task(run, data.outline), model.config, data.codecs)
    stage = make_stage(Blueprint(run, task, model.config, data.outline))
    variables = stage.unrounded(stage.place(model.params))
    options: dict[str, Any] = dict(intervals=True, answers=True, losses=True)
    if task.generates and task.answer is not None:
        options["write"] = make_writer(run, model.config, model.params, data)
    found = evaluate(stage, variables, data, part, **options)
    result = describe_split(run.data.source, split, found)
    name = split if source is None else "data"
    write_files(folder, name, result, found.answered, input_names(run))
    if found.answered is not None:
        path = folder.root / f"images-{name}.npz"
        write_images(path, data, part, found.answered)
    write_losses_of(folder, name, found)
    return result


def _check_has_data(folder: RunFolder, source: str | None) -> None:
    """Refuses a model that was made elsewhere, if no data are named.

    Raises:
        ConfigError: If the folder has no data of its own.
    """
    if source is not None or not folder.report.is_file():
        return
    if IMPORTED in read_json(folder.report, dict):
        raise ConfigError(
            f"--workdir={folder.root} holds an imported model, which has no data of "
            "its own. Name some: --data=SOURCE."
        )


def make_writer(
    run: RunConfig, config: ModelConfig, variables: PyTree, data: Dataset
) -> Run:
    """Returns what writes the answers of a batch, for a task that generates.

    Args:
        run: The settings.
        config: The model's shape.
        variables: ``{"params": ..., "gates": ...}``.
        data: Knows the special ids.
    """
    task, decode = make_task(run, data.outline), run.decode.with_room(run.data)
    more = ends_of(data.tokenizer)[1:]
    own = config, variables, task, data.special, decode
    return make_row_writer(*own, more_ends=more)
