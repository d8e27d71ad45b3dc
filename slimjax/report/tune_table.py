"""The table of a tune: a line for each size, with intervals over held-out documents."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimjax.errors import CheckpointError
from slimjax.paths import user_path
from slimjax.report.quantities import (
    ABSENT,
    format_count,
    format_decimal,
    format_interval,
    format_percent,
    format_si,
    number,
)
from slimjax.report.terminal import print_cells, print_line
from slimjax.store.files import read_json

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]

TUNE = "tune.json"
UNITS = {"params": "", "flops": "FLOP", "bytes": "B", "kv_bytes": "B"}
MEASURES = {
    "params": "parameters",
    "flops": "FLOPs per target, forward",
    "bytes": "bytes of the model file",
    "kv_bytes": "KV-cache bytes per token",
}

DIFFERENCES = {
    "above_larger": "above the next larger",
    "above_path": "above the path's",
}
"""Differences of errors, with paired intervals, and their headings."""


def holds_tune(folder: str | Path) -> bool:
    """Whether a folder is that of a finished tune."""
    return (user_path(folder) / TUNE).is_file()


def read_tune(folder: str | Path) -> Json:
    """Returns the content of ``tune.json``.

    Raises:
        CheckpointError: If it is missing, damaged, or not one of a tune.
    """
    path = user_path(folder) / TUNE
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("points"), list):
        raise CheckpointError(f"{path} is not the file of a tune. Run the tune again.")
    return content


def loss_unit(content: Json) -> str:
    """Returns the unit of errors."""
    return f"nats per {content['target']}"


def held_out_unit(content: Json) -> str:
    """Returns of what errors are kept: documents, examples or rows."""
    return content.get("unit", "documents")


def make_tune_table(content: Json) -> tuple[list[str], list[list[str]]]:
    """Returns the headings, and a row of cells for each point, the largest first."""
    unit = UNITS.get(content["measure"], "")
    metrics = [m for m in content["metrics"][:1] if m["words"] != loss_unit(content)]
    heads = ["point", MEASURES.get(content["measure"], content["measure"]), "of start"]
    has_params = content["measure"] != "params"
    heads += ["parameters"] * has_params + [f"held-out {loss_unit(content)}"]
    differences = _find_differences(content["points"])
    heads += [*differences.values(), "alpha"]
    heads += [
        f"{split} {m['words']}" for m in metrics for split in ("held-out", "test")
    ]
    heads += ["lower hull"]
    rows = []
    for point in content["points"]:
        ends = (number(point, end) for end in ("error", "low", "high"))
        row = [point["name"], format_si(point["size"], unit)]
        row += [format_percent(point["fraction"])]
        row += [format_count(point["params"])] * has_params
        row += [format_interval(*ends, digits=4)]
        row += [_show_difference(point, key) for key in differences]
        row += [format_decimal(number(point, "alpha"), digits=4)]
        for metric in metrics:
            for split in ("valid", "test"):
                value = number(point, "metrics", metric["key"], split)
                row += [format_decimal(value)]
        row += [_place(point)]
        rows.append(row)
    return heads, rows


def _find_differences(points: list[Json]) -> dict[str, str]:
    """Returns the differences that are known of points, and their headings."""
    return {
        key: words
        for key, words in DIFFERENCES.items()
        if any(number(point, key) is not None for point in points)
    }


def _show_difference(point: Json, key: str) -> str:
    value, low, high = (number(point, f"{key}{end}") for end in ("", "_low", "_high"))
    text = format_interval(value, low, high, digits=4)
    return f"+{text}" if value is not None and value > 0 else text


def _place(point: Json) -> str:
    if point["on_hull"]:
        return "yes"
    return "dominated" if point["dominated"] else ABSENT


def explain_tune(content: Json) -> list[str]:
    """Returns sentences on what the table counts, and what should be known of it."""
    runs = content["spent_in_runs"]
    spent = ", ".join(f"{each:.2f}" for each in runs)
    count, unit = sum(content["held_out"]["documents"]), held_out_unit(content)
    sentences = [
        f"± is half of a 95 % interval over {count:,} held-out {unit} of "
        f"{content['folds']} fold{'s' * (content['folds'] != 1)}; {unit} are the same "
        "for all points, so their differences have narrower intervals. alpha is the "
        "price at the last seam, in nats for the whole start.",
        f"A fold cost {spent} dense runs of the config "
        f"({format_si(content['run_flops'], 'FLOP')} each), trunk, decays and probes "
        "counted.",
    ]
    return [*sentences, *content["notes"]]


def print_tune(content: Json, console: "Console") -> None:
    """Prints the table and its notes."""
    print_cells(console, *make_tune_table(content))
    for sentence in explain_tune(content):
        print_line(console, sentence)
