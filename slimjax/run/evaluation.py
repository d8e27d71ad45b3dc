"""What an evaluation found, and the files of it."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from slimjax import tasks
from slimjax.data.outline import DOMAIN
from slimjax.run.answers import Answered, write_predictions
from slimjax.run.domains import OfDomain
from slimjax.run.losses import Losses, write_losses
from slimjax.store.files import write_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a model is worth on a split.

    Attributes:
        error: Mean loss, nats per target.
        metrics: The task's metrics by key, the headline first.
        num_targets: Targets counted.
        intervals: Ends of each metric's bootstrap interval, where asked for.
        answered: The answers to all examples, where asked for.
        losses: Those of each document or example, where asked for.
        notes: How answers were measured, and which metrics are left out.
        domains: Error and metrics of each domain, where losses are asked for.
        tables: What is counted of answers by class, where they are asked for.
    """

    error: float
    metrics: Mapping[str, float]
    num_targets: int
    intervals: Mapping[str, tuple[float, float]] = dataclasses.field(
        default_factory=dict
    )
    answered: Answered | None = None
    losses: Losses | None = None
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    domains: Sequence[OfDomain] = ()
    tables: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def describe_split(source: Any, split: str, found: Evaluation) -> dict[str, Any]:
    """Returns an evaluation as plain data, for ``metrics-SPLIT.json``."""
    counts: dict[str, Any] = {"num_targets": found.num_targets}
    if found.answered is not None:
        counts["num_examples"] = len(found.answered.examples)
    return {
        "source": source,
        "split": split,
        "nats_per_target": found.error,
        **found.metrics,
        **counts,
        **({"domains": list(found.domains)} if found.domains else {}),
        **found.notes,
        **found.tables,
        "intervals": {key: list(ends) for key, ends in found.intervals.items()},
    }


def write_files(
    folder: RunFolder,
    name: str,
    result: Mapping[str, Any],
    answered: Answered | None,
    inputs: Collection[str],
) -> None:
    """Writes what an evaluation found into a run folder.

    Args:
        folder: The folder.
        name: Names the files: a split, or ``data``.
        result: The metrics.
        answered: The answers, if there are any.
        inputs: Names of the values of examples that are no target.
    """
    write_json(folder.root / f"metrics-{name}.json", result)
    if answered is not None:
        path = folder.root / f"predictions-{name}.jsonl"
        write_predictions(path, answered, inputs)


def write_losses_of(folder: RunFolder, name: str, found: Evaluation) -> None:
    """Writes the loss of each document or example of a split into a run folder."""
    if found.losses is not None:
        write_losses(folder.root / f"losses-{name}.jsonl", found.losses)


def input_names(run: RunConfig) -> tuple[str, ...]:
    """Returns what the task of a run calls its inputs; none without examples."""
    task_file = tasks.get(run.task)
    has_schema = hasattr(task_file, "schema")
    return (*task_file.schema(run.data).inputs, DOMAIN) if has_schema else ()
