"""The points of a curve: sizes, errors and prices of its models, over all folds."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimjax.errors import CheckpointError
from slimjax.metrics.frontier import find_dominated, lower_hull
from slimjax.run.losses import read_losses
from slimjax.store.files import read_json
from slimjax.tune.pooled import Errors, pool

Json = dict[str, Any]

METRIC_KEYS = ("key", "words", "better")
MEANS = {
    "params": ("size", "params"),
    "flops_per_token": ("size", "flops_per_token"),
    "file_bytes": ("size", "packed_file_bytes"),
    "steps": ("train", "steps"),
}
"""What a point has of the reports of its models: means over the folds."""

SIZES = {
    "params": "params",
    "flops": "flops_per_token",
    "bytes": "packed_file_bytes",
    "kv_bytes": "kv_bytes_per_token",
}
"""Names of the measures in a report."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is the same for all points.

    Attributes:
        task: Name of the task.
        target: What it calls a target.
        measure: In which sizes are counted.
        start_size: Size of the model that the path starts from.
        sizes: Budgets of the points.
        folds: Number of folds.
        cost: What a fold may cost, in dense runs of the config.
        run_flops: FLOPs of such a run.
        seed: The seed.
        unit: Of what errors are kept: documents, examples or rows.
    """

    task: str
    target: str
    measure: str
    start_size: float
    sizes: tuple[float, ...]
    folds: int
    cost: float
    run_flops: float
    seed: int
    unit: str = "documents"


def range_of(facts: Facts) -> range:
    """Returns the numbers of the points."""
    return range(len(facts.sizes))


def find_numbers(names: Sequence[Sequence[str]]) -> list[int]:
    """Returns the numbers of the sizes that have models."""
    return [k for k, own in enumerate(names) if own]


def describe_curve(
    root: Path,
    facts: Facts,
    names: Sequence[Sequence[str]],
    numbers: Sequence[int] | None = None,
) -> Json:
    """Returns the points of one curve, and how their errors vary together.

    Args:
        root: The folder.
        facts: What is the same for all points.
        names: Folders of the models of each size, one for each fold.
        numbers: Which sizes have models; by default all.
    """
    numbers = list(range_of(facts)) if numbers is None else list(numbers)
    reports = [[_read(root, name) for name in names[k]] for k in numbers]
    losses = [[_losses(root, name) for name in names[k]] for k in numbers]
    errors, held_out = pool_losses(losses)
    points = [
        _describe_point(facts, k, reports[i], errors, i) for i, k in enumerate(numbers)
    ]
    axes = list_axes(points)
    hull, dominated = lower_hull(axes), find_dominated(axes)
    for i, point in enumerate(points):
        point["on_hull"], point["dominated"] = i in hull, i in dominated
    return {
        "points": points,
        "held_out": held_out,
        "text_targets": held_out["targets"] * _parts_of_text(reports[0]),
        "by_documents": errors.by_documents,
        "by_folds": errors.by_folds,
        "metrics": _describe_metrics(reports[0][0]),
    }


def compare_points(root: Path, names: Sequence[str], others: Sequence[str]) -> Json:
    """Returns by how much the error of one point is above another one's.

    Args:
        root: The folder.
        names: Folders of the models of the one, one for each fold.
        others: Those of the other one.
    """
    losses = [[_losses(root, name) for name in own] for own in (names, others)]
    return _describe_difference("above_path", pool_losses(losses)[0], 0, 1)


def pool_losses(losses: Sequence[Sequence[Mapping[str, np.ndarray]]]) -> tuple:
    """Returns the errors of points, and what was held out.

    Args:
        losses: For each point those of its folds.

    Raises:
        CheckpointError: If points of a fold were measured on different documents.
    """
    folds = range(len(losses[0]))
    for fold in folds:
        first = losses[0][fold]["targets"]
        if any(not np.array_equal(own[fold]["targets"], first) for own in losses):
            raise CheckpointError(
                f"The points of fold {fold} were measured on different documents. "
                "Start again in a new --workdir."
            )
    nats = np.concatenate(
        [np.stack([own[fold]["nats"] for own in losses], axis=1) for fold in folds]
    )
    gather = lambda name: np.concatenate([own[name] for own in losses[0]])
    counts = [len(own["targets"]) for own in losses[0]]
    errors = pool(nats, gather("targets"), np.repeat(folds, counts))
    has_bytes = "bytes" in losses[0][0]
    held_out = {
        "documents": counts,
        "targets": int(gather("targets").sum()),
        "bytes": int(gather("bytes").sum()) if has_bytes else None,
    }
    return errors, held_out


def _describe_point(
    facts: Facts, k: int, reports: Sequence[Json], errors: Errors, place: int
) -> Json:
    """Returns one point; `place` is where its error stands."""
    sizes = [_size_of(report, facts) for report in reports]
    alphas = [report["size"]["alpha"] for report in reports]
    half = errors.half_width(place)
    error = errors.values[place]
    means = {
        name: statistics.fmean(_look_up(report, path) for report in reports)
        for name, path in MEANS.items()
    }
    return {
        "name": f"point{k}",
        "budget": facts.sizes[k],
        "size": statistics.fmean(sizes),
        "fraction": statistics.fmean(sizes) / facts.start_size,
        "sizes": sizes,
        "alpha": statistics.median(alphas) or None,
        "error": error,
        "low": None if half is None else error - half,
        "high": None if half is None else error + half,
        **_describe_difference("above_larger", errors, place, place - 1),
        **means,
        "metrics": {m["key"]: _mean_metric(reports, i) for i, m in _metrics(reports)},
        "test_error": _mean_test(reports),
    }


def _describe_difference(key: str, errors: Errors, i: int, j: int) -> Json:
    """Returns a difference of errors with its paired interval; None without a second.

    Args:
        key: What it is called.
        errors: The errors.
        i: One of them.
        j: The one that is taken off.
    """
    if j < 0:
        return dict.fromkeys((key, f"{key}_low", f"{key}_high"))
    more, half = errors.values[i] - errors.values[j], errors.half_width(i, j)
    ends = (None, None) if half is None else (more - half, more + half)
    return {key: more, f"{key}_low": ends[0], f"{key}_high": ends[1]}


def _size_of(report: Json, facts: Facts) -> float:
    """Returns a model's size; that of a sum of measures as a part of the start."""
    key = SIZES.get(facts.measure)
    if key is None:
        return report["size"]["fraction"] * facts.start_size
    return float(report["size"][key])


def _metrics(reports: Sequence[Json]) -> list[tuple[int, Json]]:
    return list(enumerate(reports[0].get("metrics") or []))


def _mean_metric(reports: Sequence[Json], place: int) -> Json:
    """Returns a metric on both splits, as means over the folds."""
    found = {}
    for split in ("valid", "test"):
        values = [report["metrics"][place].get(split) for report in reports]
        known = all(value is not None for value in values)
        found[split] = statistics.fmean(values) if known else None
    return found


def _mean_test(reports: Sequence[Json]) -> float | None:
    values = [report["error"].get("test_nats_per_target") for report in reports]
    known = all(value is not None and math.isfinite(value) for value in values)
    return statistics.fmean(values) if known else None


def _describe_metrics(report: Json) -> list[Json]:
    return [{key: m.get(key) for key in METRIC_KEYS} for m in report.get("metrics", [])]


def _parts_of_text(reports: Sequence[Json]) -> float:
    """Returns the text outside test, by what was held out in all folds together."""
    if len(reports) > 1:
        return 1.0  # Each document was held out once.
    data = reports[0]["data"]
    what = "tokens" if "tokens_valid" in data else "examples"
    valid = data[f"{what}_valid"]
    return (data[f"{what}_train"] + valid) / valid


def list_axes(points: Sequence[Json]) -> list[tuple[float, float]]:
    """Returns size and error of each point."""
    return [(point["size"], point["error"]) for point in points]


def _read(root: Path, name: str) -> Json:
    return read_json(root / name / "report.json", dict)


def _losses(root: Path, name: str) -> Mapping[str, np.ndarray]:
    path = root / name / "losses-valid.jsonl"
    try:
        return read_losses(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. Run slimjax evaluate --workdir="
            f"{path.parent} --split=valid."
        ) from error


def _look_up(report: Json, path: tuple[str, ...]) -> float:
    found: Any = report
    for key in path:
        found = found[key]
    return float(found)
