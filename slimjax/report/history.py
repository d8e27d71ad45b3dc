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
from slimjax.report.read import SIZES, Json, Run

UNITS = {
    "embed": "channel",
    "filters": "filter",
    "heads": "head",
    "kv_heads": "KV head",
    "mlp": "MLP unit",
    "mlp_units": "MLP unit",
    "state": "state",
    "sublayer": "sublayer",
    "vocab": "token row",
}
"""Words for the kinds of units in ``seams.jsonl``, for one of them."""

Table = tuple[list[str], list[list[str]]]  # Headings, rows.


def make_stage_table(run: Run) -> Table:
    """Returns a row for each stage: its size and its speed."""
    heads = ["stage", "steps", "parameters", "FLOPs per token", "bytes"]
    heads += ["time per step", "tokens/s", "compiling"]
    return heads, [_stage_row(index, stage) for index, stage in enumerate(run.stages)]


def make_seam_table(run: Run) -> Table:
    """Returns a row for each seam, taken or not; the last column is in words.

    The sizes are in the measure that the run was asked for, or in parameters.
    """
    measure = run.asked_measure
    heads = ["step", SIZES[measure], "predicted change", "true change", "cut check"]
    heads += ["time", "removed units"]
    rows = [
        _seam_row(seam, measure) if seam.get("taken") else _no_seam_row(seam, measure)
        for seam in run.seams
    ]
    return heads, rows


def describe_loss_change(seam: Json) -> str:
    """Returns the loss changes of a seam in words; not all strategies predict one.

    Examples:
        >>> describe_loss_change({"true_loss_change": 0.1, "predicted_loss_change": 0})
        'loss +0.100 (predicted +0.000)'
    """
    text = f"loss {format_signed(seam['true_loss_change'], 3)}"
    predicted = seam["predicted_loss_change"]
    if predicted is None:
        return text
    return f"{text} (predicted {format_signed(predicted, 3)})"


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


def _seam_row(seam: Json, measure: str) -> list[str]:
    before, after = (number(seam, f"{measure}_{side}") for side in ("before", "after"))
    closed = seam.get("closed")
    closed = closed.items() if isinstance(closed, dict) else []
    removed = [describe_units(kind, number(count) or 0) for kind, count in closed]
    removed = [words for words in removed if words]
    if seam.get("keeps_division") is False:
        removed.append("a tower had no more to give, so others gave more")
    return [
        format_count(number(seam, "step")),
        f"{format_count(before)} to {format_count(after)}",
        format_signed(number(seam, "predicted_loss_change")),
        format_signed(number(seam, "true_loss_change")),
        _describe_check(number(seam, "closed_cut_max_abs_diff")),
        format_duration(number(seam, "seconds")),
        ", ".join(removed) or _describe_nothing(seam),
    ]


def describe_units(kind: str, count: float) -> str:
    """Returns a number of units of a kind in words; nothing where there are none.

    Examples:
        >>> describe_units("mlp", 2), describe_units("filters_1", 1)
        ('2 MLP units', '1 filter of convolution 1')
        >>> describe_units("image_embed", 3)
        '3 channels of image'
    """
    if not count:
        return ""
    stem, _, rest = kind.rpartition("_")
    if kind in UNITS:
        what, where = UNITS[kind], ""
    elif stem == "filters":
        what, where = UNITS[stem], f" of convolution {rest}"
    elif rest == "embed":
        what, where = UNITS[rest], f" of {stem}"
    else:
        return f"{format_count(count)} {kind.replace('_', ' ')}"
    return f"{format_count(count)} {what}{'s' if count != 1 else ''}{where}"


def _describe_nothing(seam: Json) -> str:
    """Returns what a seam did that was taken and removed no unit."""
    return (
        "no unit; other bits" if seam.get("bits") else str(seam.get("reason") or ABSENT)
    )


def _describe_check(difference: float | None) -> str:
    return "0" if difference == 0 else format_decimal(difference, "", 6)


def _no_seam_row(seam: Json, measure: str) -> list[str]:
    reason = f"not taken: {seam.get('reason') or 'no reason given'}"
    size = format_count(number(seam, f"{measure}_before"))
    return [format_count(number(seam, "step")), size, *[ABSENT] * 4, reason]
