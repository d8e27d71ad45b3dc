"""One self-contained page from run folders: sentence, table, figures, samples.

All text that comes from a run (names, samples, settings) is escaped. The page has no
scripts and loads nothing; the figures are inside it and beside it.
"""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

from slimjax.errors import ConfigError
from slimjax.paths import user_path
from slimjax.report.answer_page import write_answers, write_pairs
from slimjax.report.answers import read_answers
from slimjax.report.bits import has_bits, plot_bits
from slimjax.report.description import (
    HEADS,
    explain_description,
    make_description_table,
)
from slimjax.report.domains import show_domains
from slimjax.report.figures import plot_run, plot_seams, plot_speed
from slimjax.report.frontier import plot_frontier
from slimjax.report.history import make_seam_table, make_stage_table
from slimjax.report.images import embed, write_with_images
from slimjax.report.markup import escape, write_page, write_table
from slimjax.report.metrics import (
    SPLITS,
    Metric,
    compare,
    find_best,
    format_metric,
    loss_words,
)
from slimjax.report.quantities import ABSENT, format_decimal, format_si, number
from slimjax.report.read import Run
from slimjax.report.structure import plot_structure
from slimjax.report.table import Row, explain_table, make_table, summarize

MAX_SAMPLES, MAX_SAMPLE_CHARS = 20, 4_000
FACTS = ("strategy", "seed", "config_hash", "state_hash")

SEAM_NOTE = (
    "Changes are of the loss, in {unit}. Cut check: the largest difference between the "
    "outputs of the model with units closed and with the same units removed; zero up "
    "to rounding."
)

CAPTIONS = {
    "run": "Error and size over the steps. In a stage the model has a fixed size; at a "
    "seam (dashed, with its change in size) units are removed between two steps. "
    "Pale: each logged training step. Blue: smoothed within each stage. Orange: the "
    "validation split. The first steps may be above the top of the figure.",
    "speed": "Speed of training. Pale: each logged step. Dark: the median of each "
    "stage.",
    "structure": "Every layer, from the input (top) to the output. A box in outline "
    "was removed; its number is that of the seam. Numbers of units are recorded, not "
    "places: what is kept is drawn at the left.",
    "bits": "In how many bits units are stored. A bar is as long as the number of "
    "units at the start; its parts are the units of equal bits, the most bits first; "
    "removed units are white. Beside it: the units that are left, and their mean bits.",
    "seams": "What each seam was predicted to cost, and what it cost when it was "
    "taken, before any further step.",
}


def write_report(runs: list[Run], output: str | Path) -> list[Path]:
    """Writes the page and, beside it, its figures as PNG files.

    Each file appears whole or not at all.

    Args:
        runs: One run, or several to compare.
        output: The page, such as ``report.html``; a figure is ``report_run.png``.

    Returns:
        The files written, the page first.

    Raises:
        ConfigError: If there is no run, or `output` is a folder.
    """
    output = user_path(output)
    if not runs:
        raise ConfigError("A report needs at least one run folder.")
    if output.is_dir():
        raise ConfigError(
            f"--output={output} is a folder. Name a file: {output / 'report.html'}."
        )
    runs = _number_equal_names(runs)
    images: dict[str, bytes] = {}
    if len(runs) == 1:
        page = write_page(runs[0].name, _one_run(runs[0], images))
    else:
        page = write_page(f"{len(runs)} runs", _many_runs(runs, images))
    return write_with_images(output, page, images)


def _one_run(run: Run, images: dict[str, bytes]) -> list[str]:
    rows = [row for row in make_table(run) if (row.start, row.end) != (ABSENT, ABSENT)]
    return [
        f"<p class='summary'>{escape(summarize(run))}</p>",
        *_warnings(run),
        write_table(["", "start", "end", "end / start"], rows),
        *(f"<p class='muted'>{escape(note)}</p>" for note in explain_table(run)),
        *_description(run),
        *show_domains(run),
        *_run_figures(run, images, prefix=""),
        *write_answers(run, read_answers(run), images, prefix=""),
        *_history(run),
        *_samples(run),
        "<h2>How to get this run again</h2>",
        _facts(run),
    ]


def _many_runs(runs: list[Run], images: dict[str, bytes]) -> list[str]:
    known = [read_answers(run) for run in runs]
    parts = [
        f"<p class='summary'>{escape(_compare(runs))}</p>",
        _runs_table(runs),
        embed(plot_frontier(runs), "frontier", _caption_of(runs), images),
        *write_pairs(runs, known),
    ]
    for index, run in enumerate(runs):
        parts += [
            f"<h2>{index + 1}. {escape(run.name)}</h2>",
            f"<p>{escape(summarize(run))}</p>",
            *_warnings(run),
            *_description(run),
            *_run_figures(run, images, prefix=f"run{index + 1}_"),
            *write_answers(run, known[index], images, prefix=f"run{index + 1}_"),
            *_history(run),
            *_samples(run),
            _facts(run),
        ]
    return parts


def _warnings(run: Run) -> list[str]:
    return [f"<p class='warning'>{escape(text)}</p>" for text in run.warnings]


def _description(run: Run) -> list[str]:
    """The two-part code of the training text, for runs that were asked for it."""
    rows = make_description_table(run)
    if not rows:
        return []
    note = f"<p class='muted'>{escape(explain_description(run))}</p>"
    return ["<h3>Description length</h3>", write_table(HEADS, rows), note]


def _run_figures(run: Run, images: dict[str, bytes], *, prefix: str) -> list[str]:
    """Draws the figures for which the run has data."""
    plots = []
    if run.metrics:
        plots += [("run", plot_run)]
    if run.architectures:
        plots += [("structure", plot_structure)]
    if has_bits(run):
        plots += [("bits", plot_bits)]
    if run.taken_seams:
        plots += [("seams", plot_seams)]
    if run.metrics:
        plots += [("speed", plot_speed)]
    return [
        embed(plot(run), prefix + name, CAPTIONS[name], images) for name, plot in plots
    ]


def _compare(runs: list[Run]) -> str:
    """Describes in one sentence where the runs lie, or why they are not compared."""
    sizes = [number(run.report, "size", "params") for run in runs]
    known = [size for size in sizes if size is not None]
    sentence = f"{len(runs)} runs"
    if known:
        low, high = format_si(min(known)), format_si(max(known))
        sentence += f", from {low} to {high} parameters"
    metric, split, values, obstacle = compare(runs)
    if obstacle:
        return f"{sentence}. {obstacle} So they are not ranked."
    best = find_best(values, metric.better)
    if best is not None:
        word = "highest" if metric.better == "high" else "lowest"
        name = metric.words if metric.better == "high" else "error"
        sentence += f"; the {word} {name} is {_write_best(values[best], metric)}"
        sentence += f" on {SPLITS[split]} ({runs[best].name})"
    return sentence + "."


def _write_best(value: float | None, metric: Metric) -> str:
    if metric.better == "high":
        return format_decimal(value)
    return format_metric(value, metric)


def _caption_of(runs: list[Run]) -> str:
    """Returns the caption of the figure that compares runs."""
    metric, _, _, obstacle = compare(runs)
    caption = f"Size against {metric.words}, one point for each run. "
    if obstacle:
        return f"{caption}{obstacle} So no line joins them."
    corner = "upper left" if metric.better == "high" else "lower left"
    caption += "The line joins the runs that no other run beats in both; "
    return f"{caption}{corner} is better."


def _runs_table(runs: list[Run]) -> str:
    """One column for each run: where it ended, and the part of its own start."""
    tables = [{row.label: row for row in make_table(run)} for run in runs]
    rows = []
    for label in dict.fromkeys(label for table in tables for label in table):
        cells = [table.get(label) for table in tables]
        texts = [ABSENT if cell is None else _end_of(cell) for cell in cells]
        if set(texts) != {ABSENT}:
            rows.append((label, *texts))
    heads = [f"{index + 1}. {run.name}" for index, run in enumerate(runs)]
    note = "<p class='muted'>In brackets: against the start of the same run.</p>"
    return write_table(["", *heads], rows) + note


def _end_of(row: Row) -> str:
    return row.end if row.ratio == ABSENT else f"{row.end} ({row.ratio})"


def _history(run: Run) -> list[str]:
    """The stages and the seams, in numbers."""
    parts = []
    if run.stages:
        heads, rows = make_stage_table(run)
        parts += ["<h3>Stages</h3>", write_table(heads, rows)]
    if run.seams:
        heads, rows = make_seam_table(run)
        table = write_table(heads, rows, words=len(heads) - 1)
        note = f"<p class='muted'>{escape(SEAM_NOTE.format(unit=loss_words(run)))}</p>"
        parts += ["<h3>Seams</h3>", table, note]
    return parts


def _samples(run: Run) -> list[str]:
    """Texts that the model wrote, the prompt in bold."""
    samples = run.report.get("samples")
    samples = samples if isinstance(samples, list) else []
    parts = []
    for sample in [s for s in samples if isinstance(s, dict)][:MAX_SAMPLES]:
        prompt, text = (str(sample.get(name) or "") for name in ("prompt", "text"))
        text = text.removeprefix(prompt)
        if len(text) > MAX_SAMPLE_CHARS:
            text = f"{text[:MAX_SAMPLE_CHARS]} ..."
        parts.append(f"<pre><b>{escape(prompt)}</b>{escape(text)}</pre>")
    return ["<h3>Samples</h3>", *parts] if parts else []


def _facts(run: Run) -> str:
    """Seed, hashes, data, versions and the whole config, folded away."""
    facts = [(name, _plain(run.report.get(name))) for name in FACTS]
    for block in ("data", "machine", "versions"):
        content = run.report.get(block)
        if isinstance(content, dict):
            facts += [(f"{block}: {key}", _plain(v)) for key, v in content.items()]
    rows = [fact for fact in facts if fact[1] != ABSENT]
    config = json.dumps(run.config, indent=2, ensure_ascii=False, allow_nan=False)
    table = write_table(["", "value"], rows, words=1)
    title = "<summary>Config, versions, seed and hashes</summary>"
    return f"<details>{title}{table}<pre>{escape(config)}</pre></details>"


def _plain(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _number_equal_names(runs: list[Run]) -> list[Run]:
    """Adds a number to the names that several runs share."""
    counts = Counter(run.name for run in runs)
    return [
        dataclasses.replace(run, name=f"{run.name} ({index + 1})")
        if counts[run.name] > 1
        else run
        for index, run in enumerate(runs)
    ]
