"""What the runs of an arm have come to: figures of each, and their means."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.tune.arms import Arm, Trial
from slimjax.tune.intervals import take_mean

QUANTITIES = {
    "test_bits_per_byte": ("error", "test_bits_per_byte"),
    "valid_bits_per_byte": ("error", "valid_bits_per_byte"),
    "params": ("size", "params"),
    "packed_file_bytes": ("size", "packed_file_bytes"),
    "flops_per_token": ("size", "flops_per_token"),
    "kv_bytes_per_token": ("size", "kv_bytes_per_token"),
    "description_bits": ("description_length", "total_bits"),
    "steps": ("train", "steps"),
    "flops_total": ("train", "flops_total"),
    "seconds": ("train", "seconds"),
}
"""What ``sweep.json`` takes from each ``report.json``."""


SPLITS = ("valid", "test")
METRIC_KEYS = ("key", "words", "better")
"""What describes a metric; the first one of a report is the headline."""


def describe_arm(
    arm: Arm, trials: Sequence[Trial], root: Path, failures: Mapping[str, str]
) -> dict[str, Any]:
    """Returns an arm as ``sweep.json`` has it.

    Args:
        arm: The arm.
        trials: Its runs.
        root: The sweep's folder.
        failures: Why runs have failed, by their name.
    """
    found, means = [read_trial(trial, root, failures) for trial in trials], {}
    metrics = next((t["metrics"] for t in found if t.get("metrics")), [])
    for name in dict.fromkeys((*QUANTITIES, *(n for m in metrics for n in _names(m)))):
        known = [t[name] for t in found if t.get(name) is not None]
        mean = take_mean(known)
        means[name] = None if mean is None else dataclasses.asdict(mean)
    return {
        "name": arm.name,
        "changes": arm.changes,
        "measure": trials[0].run.objective.size,
        "num_steps": trials[0].run.train.num_steps,
        "metrics": metrics,
        "means": means,
        "trials": found,
    }


def read_trial(trial: Trial, root: Path, failures: Mapping[str, str]) -> dict[str, Any]:
    """Returns how far a run is, and its figures if it is finished."""
    folder = RunFolder(root / trial.name)
    entry: dict[str, Any] = {"name": trial.name, "seed": trial.run.seed}
    if not folder.report.is_file():
        reason = failures.get(trial.name)
        return entry | {"state": "failed" if reason else "open", "reason": reason}
    report = read_json(folder.report, dict)
    figures = {q: _look_up(report, path) for q, path in QUANTITIES.items()}
    metrics = [m for m in report.get("metrics") or [] if isinstance(m, dict)]
    for metric in metrics:
        for name, split in zip(_names(metric), SPLITS, strict=True):
            figures[name] = _look_up(metric, (split,))
    heads = [{key: metric.get(key) for key in METRIC_KEYS} for metric in metrics]
    return entry | {"state": "finished", "reason": None, "metrics": heads} | figures


def _names(metric: Mapping[str, Any]) -> list[str]:
    """Returns the names of a metric's figures, as ``error`` in the report has them."""
    return [f"{split}_{metric['key']}" for split in SPLITS]


def _look_up(report: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """Returns the number at a place of a report; None if there is none."""
    found: Any = report
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, int | float) else None
