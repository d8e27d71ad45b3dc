"""The table that closes a training run: the start, the end, and their ratio."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from slimjax.report.description import (
    HEADS,
    explain_description,
    make_description_table,
)
from slimjax.report.metrics import (
    SPLITS,
    Metric,
    compare,
    format_metric,
    list_metrics,
    loss_words,
    validation_loss,
)
from slimjax.report.quantities import (
    ABSENT,
    divide,
    format_count,
    format_decimal,
    format_duration,
    format_interval,
    format_percent,
    format_si,
    format_times,
    number,
)
from slimjax.report.read import Run
from slimjax.report.terminal import print_cells, print_line

if TYPE_CHECKING:
    from rich.console import Console


ASKED = {
    "params": ("params", "parameters"),
    "bytes": ("bytes", "bytes"),
    "kv_bytes": ("kv_bytes_per_token", "KV-cache bytes"),
}
"""The size that the summary begins with, by the measure that the run was asked for."""


NUM_METRICS = 2
"""Metrics of the task that the table shows at least."""

OTHERS = ("bleu", "rougeL", "nats_per_example", "nats_per_token", "nats_per_pair")
"""Further ones that it shows."""

ENDS = ("low", "high")
"""Ends of the range of a ratio of speeds, the 10th and the 90th percentile."""

INTERVAL_NOTE = "± is half of the 95 % interval over the examples of the test split."


class Row(NamedTuple):
    """One line of the table, ready to print; a dash stands for what is not known."""

    label: str
    start: str
    end: str
    ratio: str


def make_table(run: Run) -> list[Row]:
    """Returns the table of a run, from its size to its cost."""
    rows = [*_size_rows(run), *_speed_rows(run), *_compress_rows(run)]
    return [*rows, *_error_rows(run), *_cost_rows(run)]


def print_table(run: Run, console: "Console | None" = None) -> None:
    """Prints the table of a run, and its summary in one sentence.

    Args:
        run: A run, finished or not.
        console: Where to print; standard output by default.
    """
    from rich.console import Console

    console = console or Console(highlight=False)
    rows = [row for row in make_table(run) if (row.start, row.end) != (ABSENT, ABSENT)]
    heads = ["", "start", "end", "end / start"]
    print_cells(console, heads, rows, title=run.name)
    for note in explain_table(run):
        print_line(console, note)
    lengths = make_description_table(run)
    if lengths:
        print_cells(console, HEADS, lengths)
        print_line(console, explain_description(run))
    for warning in run.warnings:
        print_line(console, f"warning: {warning}")
    print_line(console, summarize(run))


def explain_table(run: Run) -> list[str]:
    """Returns notes on the numbers of the table."""
    has_interval = any(metric.test_low is not None for metric in list_metrics(run))
    notes = [INTERVAL_NOTE] if has_interval else []
    train = run.report.get("train")
    steps, best = number(train, "steps"), number(train, "best_step")
    if isinstance(train, dict) and steps is not None and best is not None:
        end = "Stopped early" if train.get("stopped_early") else "Ended"
        notes.append(
            f"{end} after {steps:,.0f} steps; packed is the state of step {best:,.0f}, "
            "the best on the validation split."
        )
    return notes


def summarize(run: Run) -> str:
    """Returns the result of a run in one sentence."""
    sentence = f"{_describe_size(run)}; {_describe_error(run)}."
    if run.is_finished:
        return sentence
    planned = format_count(number(run.config, "train", "num_steps"))
    end = f" of {planned}" if planned != ABSENT else ""
    return f"Not finished, at step {format_count(run.last_step)}{end}: {sentence}"


def _describe_size(run: Run) -> str:
    size, train = run.report.get("size"), run.report.get("train")
    params = number(size, "params")
    if not run.taken_seams and len(run.stages) < 2:
        return f"{format_si(params)} parameters from start to end"
    measure = size.get("measure") if isinstance(size, dict) else None
    name, words = ASKED.get(str(measure), ASKED["params"])
    flops = _fraction(size, "flops_per_token")
    cells = [
        (_fraction(size, name), f"of the starting {words}"),
        (flops, "of the FLOPs"),
    ]
    parts = [f"{format_percent(part)} {of}" for part, of in cells if part is not None]
    speed = _describe_speed(train)
    parts += [speed] if speed else []
    return ", ".join(parts) or f"{format_si(params)} parameters"


def _fraction(size, name: str) -> float | None:
    return divide(number(size, name), number(size, f"{name}_start"))


def _describe_error(run: Run) -> str:
    metric, split, (value,), _ = compare([run])
    if value is not None:
        return f"{format_metric(value, metric)} on {SPLITS[split]}"
    loss = validation_loss(run.report.get("error") or {})
    if loss is not None:
        return f"{loss:.3f} {loss_words(run)} on {SPLITS['valid']}"
    return "the error is not known" if run.is_finished else "not evaluated yet"


def _describe_speed(train) -> str:
    """Returns how fast the last stage is beside the first, timed in turns if it was."""
    ratio = number(train, "speed", "ratio")
    if ratio is not None:
        low, high = (format_decimal(number(train, "speed", e), digits=2) for e in ENDS)
        return f"{format_times(ratio)} as fast ({low} to {high}, timed in turns)"
    stages = (number(train, f"tokens_per_s_{s}_stage") for s in ("last", "first"))
    ratio = divide(*stages)
    return "" if ratio is None else f"{format_times(ratio)} as fast"


def _size_rows(run: Run) -> list[Row]:
    size = run.report.get("size")
    file = format_si(number(size, "packed_file_bytes"), "B")
    latency = _compare(size, "time per token, by the table", "latency_s")
    cache = _compare(size, "KV-cache bytes per token", "kv_bytes_per_token")
    return [
        _compare(size, "parameters", "params"),
        _compare(size, "FLOPs per token, forward", "flops_per_token"),
        _compare(size, "bytes of the model", "bytes"),
        Row("bytes of the packed file", ABSENT, file, ABSENT),
        *([cache] if number(size, "kv_bytes_per_token_start") != 0 else []),
        *([latency] if number(size, "latency_s") else []),
        *_tower_rows(size),
    ]


def _tower_rows(size: Any) -> list[Row]:
    """Returns how the size that was asked for is shared out among towers."""
    towers = size.get("towers") if isinstance(size, dict) else None
    if not isinstance(towers, dict) or len(towers) < 2:
        return []
    measure = str(size.get("measure"))
    name = {"flops": "flops_per_token", "bytes": "bytes"}.get(measure, "params")
    what = {"flops_per_token": "FLOPs", "bytes": "bytes"}.get(name, "parameters")
    return [
        _compare(own, f"{what} of the tower {tower}", name)
        for tower, own in towers.items()
    ]


def _compare(size: Any, label: str, name: str) -> Row:
    start, end = number(size, f"{name}_start"), number(size, name)
    write = WRITERS[name]
    return Row(label, write(start), write(end), format_percent(divide(end, start)))


WRITERS: dict[str, Callable[[float | None], str]] = {
    "params": format_count,
    "flops_per_token": lambda value: format_si(value, "FLOP"),
    "bytes": lambda value: format_si(value, "B"),
    "kv_bytes_per_token": lambda value: format_si(value, "B"),
    "latency_s": format_duration,
}
"""How sizes are written, by their key."""


def _speed_rows(run: Run) -> list[Row]:
    train, stages = run.report.get("train"), run.stages
    first, last = (number(train, f"tokens_per_s_{s}_stage") for s in ("first", "last"))
    before, after = (number(stages, index, "step_time_s") for index in (0, -1))
    return [
        Row(
            "tokens/s, training",
            format_count(first),
            format_count(last),
            format_times(divide(last, first)),
        ),
        Row(
            "time per step",
            format_duration(before),
            format_duration(after),
            format_times(divide(after, before)),
        ),
    ]


def _compress_rows(run: Run) -> list[Row]:
    """Returns what became of a model by ``slimjax compress``: its errors, its speed."""
    block = run.report.get("compress")
    found = block if isinstance(block, dict) else {}
    rows = []
    for error in found.get("errors") or []:
        before, after = (error.get(when) or {} for when in ("before", "after"))
        key = "cosine" if "cosine" in after else "perplexity"
        values = number(before, key), number(after, key)
        words = {"cosine": "mean cosine to the original"}.get(key, key)
        start, end = (format_decimal(value) for value in values)
        ratio = format_times(divide(*reversed(values)))
        rows.append(Row(f"{words}, {error.get('source')}", start, end, ratio))
    for timed in found.get("decoding") or []:
        ends = (format_decimal(number(timed, end), digits=2) for end in ENDS)
        cell = f"{format_times(number(timed, 'ratio'))} as fast ({' to '.join(ends)})"
        label = f"writing, {timed.get('weights')}"
        rows.append(Row(label, ABSENT, cell, ABSENT))
    return rows


def _error_rows(run: Run) -> list[Row]:
    cells = []
    for metric in _main_metrics(run):
        cells += [(f"{metric.words}, validation", format_decimal(metric.valid))]
        cells += [(f"{metric.words}, test", format_interval(*metric[4:]))]
    loss = format_decimal(validation_loss(run.report.get("error") or {}))
    label = f"{loss_words(run)}, validation"
    is_there = label in dict(cells) or loss in dict(cells).values()
    cells += [] if is_there else [(label, loss)]
    return [Row(label, ABSENT, cell, ABSENT) for label, cell in cells]


def _main_metrics(run: Run) -> list[Metric]:
    """Returns the first metrics, and a few others; a page has them all."""
    known = list_metrics(run)
    others = [metric for metric in known[NUM_METRICS:] if metric.key in OTHERS]
    return [*known[:NUM_METRICS], *others]


def _cost_rows(run: Run) -> list[Row]:
    size, train = run.report.get("size"), run.report.get("train")
    cells = {
        "alpha, nats": format_decimal(number(size, "alpha"), "", 4),
        "alpha * size + error": format_decimal(number(size, "complexity")),
        **_rate_cells(run),
        "training steps": format_count(number(train, "steps")),
        "training tokens": format_count(number(train, "tokens")),
        "training FLOPs, total": format_si(number(train, "flops_total"), "FLOP"),
        "time, total": format_duration(number(train, "seconds")),
        "time, of it compiling": format_duration(number(train, "compile_seconds")),
    }
    return [Row(label, ABSENT, cell, ABSENT) for label, cell in cells.items()]


def _rate_cells(run: Run) -> dict[str, str]:
    """Returns the complexity with 1 minus the headline, where that is a rate."""
    value = number(run.report, "size", "complexity_of_rate")
    if value is None:
        return {}
    words = list_metrics(run)[0].words
    return {f"alpha * size + 1 - {words}": format_decimal(value)}
