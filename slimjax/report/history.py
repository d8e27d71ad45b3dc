"""The history of a run in two tables: its stages, and the seams between them."""

from slimjax.report.quantities import (
    ABSENT,
    format_count,
    format_decimal,
    format_duration,
    format_si,
    format_signed,
    number,
)
from slimjax.report.read import Json, Run

Table = tuple[list[str], list[list[str]]]  # Headings, rows.


def make_stage_table(run: Run) -> Table:
    """Returns a row for each stage: what was trained, and how fast."""
    heads = ["stage", "steps", "parameters", "FLOPs per token", "bytes"]
    heads += ["time per step", "tokens/s", "compiling"]
    return heads, [_stage_row(index, stage) for index, stage in enumerate(run.stages)]


def make_seam_table(run: Run) -> Table:
    """Returns a row for each seam, taken or not; the last column is in words."""
    heads = ["step", "parameters", "predicted change", "true change", "cut check"]
    heads += ["time", "removed units, or why not taken"]
    rows = [
        _seam_row(seam) if seam.get("taken") else _no_seam_row(seam)
        for seam in run.seams
    ]
    return heads, rows


def describe_loss_change(seam: Json) -> str:
    """Returns the loss changes of a seam in words; not all strategies predict one.

    Examples:
        >>> describe_loss_change({"true_loss_change": 0.1, "predicted_loss_change": 0})
        'loss +0.100 (predicted +0.000)'
    """
    text = f"loss {seam['true_loss_change']:+.3f}"
    predicted = seam["predicted_loss_change"]
    return text if predicted is None else f"{text} (predicted {predicted:+.3f})"


def _stage_row(index: int, stage: Json) -> list[str]:
    start, end = (format_count(number(stage, f"{s}_step")) for s in ("start", "end"))
    return [
        str(index + 1),
        f"{start} to {end}" if end != ABSENT else f"from {start}",
        format_count(number(stage, "params")),
        format_si(number(stage, "flops_per_token"), "FLOP"),
        format_si(number(stage, "bytes"), "B"),
        format_duration(number(stage, "step_time_s")),
        format_count(number(stage, "tokens_per_s")),
        format_duration(number(stage, "compile_s")),
    ]


def _seam_row(seam: Json) -> list[str]:
    before, after = (number(seam, f"params_{side}") for side in ("before", "after"))
    closed = seam.get("closed")
    closed = closed.items() if isinstance(closed, dict) else []
    gone = [f"{format_count(number(count))} {kind}" for kind, count in closed if count]
    return [
        format_count(number(seam, "step")),
        f"{format_count(before)} to {format_count(after)}",
        format_signed(number(seam, "predicted_loss_change")),
        format_signed(number(seam, "true_loss_change")),
        format_decimal(number(seam, "closed_cut_max_abs_diff"), "", 6),
        format_duration(number(seam, "seconds")),
        ", ".join(gone) or str(seam.get("reason") or ABSENT),
    ]


def _no_seam_row(seam: Json) -> list[str]:
    reason = f"not taken: {seam.get('reason') or 'no reason given'}"
    size = format_count(number(seam, "params_before"))
    return [format_count(number(seam, "step")), size, *[ABSENT] * 4, reason]
