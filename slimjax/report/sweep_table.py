"""The table of a sweep: a line for each arm, means over its seeds with intervals."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimjax.errors import CheckpointError
from slimjax.paths import user_path
from slimjax.report.metrics import Metric, read_metrics
from slimjax.report.quantities import (
    ABSENT,
    divide,
    format_count,
    format_interval,
    format_si,
    number,
)
from slimjax.report.terminal import print_cells, print_line
from slimjax.store.files import read_json

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]

NOTE = (
    "Means over the seeds; ± is half of the 95 % interval of the mean (Student), with "
    "two seeds or more."
)
SPLIT_NAMES = {"valid": "validation", "test": "test"}
COLUMNS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("parameters", "params", format_count),
    ("model file", "packed_file_bytes", lambda value: format_si(value, "B")),
    ("steps", "steps", format_count),
    ("training FLOPs", "flops_total", lambda value: format_si(value, "FLOP")),
)
BITS_PER_BYTE = {"key": "bits_per_byte", "words": "bits per byte", "better": "low"}
"""The metric of sweeps whose file names none."""


def list_sweep_metrics(sweep: Json) -> list[Metric]:
    """Returns the metrics of a sweep, the headline first.

    Each arm with a result has ``metrics: [{key, words, better}]``, and among its means
    ``valid_KEY`` and ``test_KEY``. Sweeps from before that have bits per byte.
    """
    blocks = (block for block in (sweep, *sweep["arms"]) if block.get("metrics"))
    known = [read_metrics(block) for block in blocks]
    return next(filter(None, known), None) or read_metrics({"metrics": [BITS_PER_BYTE]})


def has_test(sweep: Json, key: str) -> bool:
    """Whether all arms that have a result have one on the test split."""
    means = [arm["means"] for arm in sweep["arms"]]
    known = [m for m in means if number(m, "params", "mean") is not None]
    return all(number(m, f"test_{key}", "mean") is not None for m in known)


def read_sweep(folder: str | Path) -> Json:
    """Returns the content of ``sweep.json``.

    Raises:
        CheckpointError: If it is missing, damaged, or not one of a sweep.
    """
    path = user_path(folder) / "sweep.json"
    sweep = read_json(path)
    if not isinstance(sweep, dict) or not isinstance(sweep.get("arms"), list):
        raise CheckpointError(
            f"{path} is not the file of a sweep. Run the sweep again."
        )
    return sweep


def make_sweep_table(sweep: Json) -> tuple[list[str], list[list[str]]]:
    """Returns the headings, and a row of cells for each arm."""
    arms = sweep["arms"]
    is_equal = sweep.get("equal") == "flops"
    has_bits = any(number(arm, "means", "description_bits", "mean") for arm in arms)
    settings = list(dict.fromkeys(name for arm in arms for name in changes_of(arm)))
    heads = [*map(shorten, settings)] or ["arm"]
    heads += ["seeds", *(head for head, *_ in COLUMNS)]
    heads += ["of the reference"] if is_equal else []
    heads += _name_rounds(sweep)
    metrics = list_sweep_metrics(sweep)
    heads += [f"{split}, {m.words}" for m in metrics for split in SPLIT_NAMES.values()]
    heads += ["model + tokenizer + text"] if has_bits else []
    names = [f"{split}_{m.key}" for m in metrics for split in SPLIT_NAMES]
    rows = []
    for arm in arms:
        row = [show_value(changes_of(arm).get(name)) for name in settings]
        row = [*(row or [str(arm.get("name"))]), _count_trials(arm)]
        row += [write(number(arm, "means", q, "mean")) for _, q, write in COLUMNS]
        row += [_compare_flops(arm)] if is_equal else []
        row += _show_rounds(sweep, arm)
        row += [write_mean(arm["means"].get(name)) for name in names]
        total = number(arm, "means", "description_bits", "mean")
        row += [format_si(total, "bit")] if has_bits else []
        rows.append(row)
    return heads, rows


def changes_of(arm: Json) -> Json:
    """Returns the settings that the grid gives an arm."""
    changes = arm.get("changes")
    return changes if isinstance(changes, dict) else {}


def shorten(setting: str) -> str:
    """Returns the last part of a setting's name."""
    return setting.rpartition(".")[2]


def show_value(value: Any) -> str:
    """Returns a setting's value as text.

    Examples:
        >>> show_value("40%"), show_value(25000.0), show_value(""), show_value([1, 2])
        ('40%', '25000', '-', '[1, 2]')
    """
    if isinstance(value, str):
        return value or ABSENT
    if value is None:
        return ABSENT
    return f"{value:.10g}" if isinstance(value, float) else json.dumps(value)


def write_mean(mean: Any) -> str:
    """Writes a mean and half of its interval.

    Examples:
        >>> write_mean({"mean": 1.5, "low": 1.488, "high": 1.512})
        '1.500 ± 0.012'
    """
    value, low, high = (number(mean, name) for name in ("mean", "low", "high"))
    return format_interval(value, low, high)


def explain_sweep(sweep: Json) -> list[str]:
    """Returns notes about the numbers, and what is missing."""
    sentences = [NOTE]
    if sweep.get("equal") == "flops":
        sentences.append(_explain_equal(sweep))
    if sweep.get("halving"):
        sentences += _explain_halving(sweep["halving"])
    trials = [trial for arm in sweep["arms"] for trial in arm["trials"]]
    num_open = sum(trial.get("state") == "open" for trial in trials)
    if num_open:
        sentences.append(f"{num_open} of {len(trials)} runs are not finished.")
    failed = [trial for trial in trials if trial.get("state") == "failed"]
    sentences += [f"{trial['name']} failed: {trial['reason']}" for trial in failed]
    return sentences


def write_markdown(sweep: Json) -> str:
    """Returns the table and its notes as Markdown."""
    heads, rows = make_sweep_table(sweep)

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    rule = line(["---"] + ["---:"] * (len(heads) - 1))
    table = "\n".join([line(heads), rule, *map(line, rows)])
    return f"{table}\n\n" + "\n\n".join(explain_sweep(sweep)) + "\n"


def print_sweep(sweep: Json, console: "Console") -> None:
    """Prints the table and its notes."""
    print_cells(console, *make_sweep_table(sweep))
    for sentence in explain_sweep(sweep):
        print_line(console, sentence)


def _count_trials(arm: Json) -> str:
    if all(trial.get("state") == "stopped" for trial in arm["trials"]):
        return "left out"
    finished = sum(trial.get("state") == "finished" for trial in arm["trials"])
    total = len(arm["trials"])
    return str(total) if finished == total else f"{finished} of {total}"


def _compare_flops(arm: Json) -> str:
    """Returns the FLOPs that an arm spent, as a part of those it was given."""
    spent = number(arm, "means", "flops_total", "mean")
    ratio = divide(spent, number(arm, "target_flops"))
    return ABSENT if ratio is None else f"{100 * ratio:.1f} %"


def _explain_equal(sweep: Json) -> str:
    reference = sweep.get("reference")
    pilots = [number(arm, "pilot_flops") or 0.0 for arm in sweep["arms"]]
    return (
        f"Steps are chosen so that each arm spends the training FLOPs of {reference}; "
        "warm-up and seams are scaled with them. The pilot runs that measured this "
        f"spent {format_si(sum(pilots), 'FLOP')} in all, which are not included."
    )


def _name_rounds(sweep: Json) -> list[str]:
    """Returns a heading for each round of a sweep that halves."""
    halving = sweep.get("halving") or {}
    rounds = halving.get("rounds") or []
    return [f"round {i + 1}, {halving.get('words')}" for i in range(len(rounds))]


def _show_rounds(sweep: Json, arm: Json) -> list[str]:
    """Returns the values by which an arm was ranked, one for each round."""
    values = arm.get("rounds") or []
    missing = len(_name_rounds(sweep)) - len(values)
    return [*(f"{value:.4g}" for value in values), *[ABSENT] * missing]


def _explain_halving(halving: Json) -> list[str]:
    factor, share = halving.get("factor"), number(halving, "steps_fraction")
    percent = ABSENT if share is None else f"{100 * share:.0f} %"
    spent = format_si(number(halving, "flops_spent"), "FLOP")
    return [
        f"The best of every {factor} arms went on after each round, by "
        f"{halving.get('metric')}, the mean over the seeds. Before the last round arms "
        "are compared at the peak of the learning rate, where arms with a high one "
        "look worse than they would after its decay.",
        f"The rounds took {percent} of the steps of all runs to their end, {spent}.",
    ]
