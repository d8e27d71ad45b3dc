"""The part of ``report.json`` that can be read from the logs of a running run."""

import statistics
from typing import Any

from slimjax.report.quantities import divide, number

Json = dict[str, Any]


def report_so_far(config: Json, metrics: list[Json], taken: list[Json]) -> Json:
    """Returns the blocks of ``report.json`` that the logs alone can give.

    Args:
        config: Settings, in blocks.
        metrics: Logged steps, each step once, in order.
        taken: Seams at which the model changed, in order.
    """
    stages = _stages_so_far(metrics, taken)
    last = metrics[-1] if metrics else {}
    size: Json = {"alpha": number(last, "alpha")}
    for measure in ("params", "flops_per_token", "bytes"):
        start, end = number(stages, 0, measure), number(last, measure)
        size |= {measure: end, f"{measure}_start": start}
        fraction = f"{measure.removesuffix('_per_token')}_fraction"
        size[fraction] = divide(end, start)
    names = dict.fromkeys(name for row in metrics for name in row)
    errors = [name for name in names if name.startswith("valid_")]
    return {
        "error": {name: _latest(metrics, name) for name in errors},
        "size": size,
        "train": {
            "steps": number(last, "step"),
            "tokens": number(last, "tokens"),
            "tokens_per_s_first_stage": number(stages, 0, "tokens_per_s"),
            "tokens_per_s_last_stage": number(stages, -1, "tokens_per_s"),
        },
        "stages": stages,
        "seed": config.get("seed"),
    }


def _latest(metrics: list[Json], name: str) -> float | None:
    return next((number(r, name) for r in reversed(metrics) if name in r), None)


def _stages_so_far(metrics: list[Json], taken: list[Json]) -> list[Json]:
    """Cuts the log at the seams; speeds are medians, as compiling spoils a step."""
    if not metrics:
        return []
    starts: list[float] = [0.0, *(number(seam, "step") or 0.0 for seam in taken)]
    ends = [*starts[1:], number(metrics, -1, "step") or 0.0]
    stages = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        rows = [r for r in metrics if start < (number(r, "step") or 0.0) <= end]
        rows = rows or (metrics[:1] if index == 0 else [])
        stage: Json = {"start_step": start, "end_step": end}
        for measure in ("params", "flops_per_token", "bytes"):
            stage[measure] = number(rows, 0, measure)
        for speed in ("step_time_s", "tokens_per_s"):
            stage[speed] = _median([number(row, speed) for row in rows])
        if index:
            seam = taken[index - 1]
            for measure in ("params", "flops_per_token"):
                stage[measure] = number(seam, f"{measure}_after") or stage[measure]
            for change in ("predicted_loss_change", "true_loss_change"):
                stage[change] = number(seam, change)
        stages.append(stage)
    return stages


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
