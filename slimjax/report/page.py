"""One self-contained page from run folders: sentence, table, figures, samples.

All text that comes from a run (names, samples, settings) is hostile until escaped. The
page has no scripts and loads nothing; the figures are inside it and beside it.
"""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

from slimjax.errors import ConfigError
from slimjax.report.bits import has_bits, plot_bits
from slimjax.report.description import (
    HEADS,
    explain_description,
    make_description_table,
)
from slimjax.report.figures import plot_loss, plot_seams, plot_size_and_speed
from slimjax.report.frontier import plot_frontier
from slimjax.report.history import make_seam_table, make_stage_table
from slimjax.report.images import embed, write_with_images
from slimjax.report.markup import escape, write_page, write_table
from slimjax.report.quantities import ABSENT, format_si, number
from slimjax.report.read import Run
from slimjax.report.structure import plot_structure
from slimjax.report.table import held_out_errors, make_table, summarize

MAX_SAMPLES, MAX_SAMPLE_CHARS = 20, 4_000
FACTS = ("strategy", "seed", "config_hash", "state_hash")

SEAM_NOTE = (
    "Changes are of the loss, in nats a token. Cut check: the largest difference "
    "between the outputs of the model with units closed and with the same units cut "
    "out; zero up to rounding."
)

CAPTIONS = {
    "loss": "Error over the steps: each logged training step (pale), smoothed within "
    "each stage (blue), and the validation text (orange). The first steps may run off "
    "the top. Dashed lines are seams, with the change in parameters.",
    "size": "Above, sizes against the start. Below, the speed of training: each logged "
    "step (pale) and the median of each stage.",
    "structure": "Every layer, from the input (top) to the output. A box in outline "
    "was there at some time and is gone; its number is the seam that took it. Numbers "
    "of units are recorded, not places: what is kept stands at the left.",
    "bits": "In how many bits units are stored. A bar is as long as there were units "
    "at the start; its parts are those that have the bits written in them, the most "
    "first, and what was cut is white. Beside it stand the units that are left, and "
    "their mean bits.",
    "seams": "What each seam was predicted to cost, and what it cost when taken, "
    "before any further step mended it.",
    "frontier": "Size against error, a point a run. The line joins the runs that no "
    "other run beats in both; lower left is better.",
}


def write_report(runs: list[Run], output: str | Path) -> list[Path]:
    """Writes the page and, beside it, its figures as PNG files.

    Each file appears whole or not at all.

    Args:
        runs: One run, or several to compare.
        output: The page, such as ``report.html``; a figure is ``report_loss.png``.

    Returns:
        The files written, the page first.

    Raises:
        ConfigError: If there is no run, or `output` is a folder.
    """
    output = Path(output)
    if not runs:
        raise ConfigError("A report needs at least one run folder.")
    if output.is_dir():
        raise ConfigError(
            f"--output={output} is a folder. Name a file: {output / 'report.html'}."
        )
    runs = _tell_apart(runs)
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
        write_table(["", "start", "end", "end / start"], rows),
        *_description(run),
        *_run_figures(run, images, prefix=""),
        *_history(run),
        *_samples(run),
        "<h2>How to get this run again</h2>",
        _facts(run),
    ]


def _many_runs(runs: list[Run], images: dict[str, bytes]) -> list[str]:
    parts = [
        f"<p class='summary'>{escape(_compare(runs))}</p>",
        _runs_table(runs),
        embed(plot_frontier(runs), "frontier", CAPTIONS["frontier"], images),
    ]
    for index, run in enumerate(runs):
        parts += [
            f"<h2>{index + 1}. {escape(run.name)}</h2>",
            f"<p>{escape(summarize(run))}</p>",
            *_description(run),
            *_run_figures(run, images, prefix=f"run{index + 1}_"),
            *_history(run),
            *_samples(run),
            _facts(run),
        ]
    return parts


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
        plots += [("loss", plot_loss), ("size", plot_size_and_speed)]
    if run.architectures:
        plots += [("structure", plot_structure)]
    if has_bits(run):
        plots += [("bits", plot_bits)]
    if run.taken_seams:
        plots += [("seams", plot_seams)]
    return [
        embed(plot(run), prefix + name, CAPTIONS[name], images) for name, plot in plots
    ]


def _compare(runs: list[Run]) -> str:
    """Says in one sentence where the runs lie."""
    sizes = [number(run.report, "size", "params") for run in runs]
    known = [size for size in sizes if size is not None]
    sentence = f"{len(runs)} runs"
    if known:
        low, high = format_si(min(known)), format_si(max(known))
        sentence += f", from {low} to {high} parameters"
    text, errors = held_out_errors(runs)
    pairs = zip(errors, (run.name for run in runs), strict=True)
    best = min(
        ((error, name) for error, name in pairs if error is not None), default=()
    )
    if best:
        sentence += f"; the lowest error is {best[0]:.2f} bits a byte on {text} text"
        sentence += f" ({best[1]})"
    return sentence + "."


def _runs_table(runs: list[Run]) -> str:
    """One column a run: where it ended, and the share of its own start."""
    tables = [make_table(run) for run in runs]
    rows = []
    for cells in zip(*tables, strict=True):
        if any(cell.end != ABSENT for cell in cells):
            ends = [
                c.end + (f" ({c.ratio})" if c.ratio != ABSENT else "") for c in cells
            ]
            rows.append((cells[0].label, *ends))
    heads = [f"{index + 1}. {run.name}" for index, run in enumerate(runs)]
    note = "<p class='muted'>In brackets: against the start of the same run.</p>"
    return write_table(["", *heads], rows) + note


def _history(run: Run) -> list[str]:
    """The stages and the seams, in numbers."""
    parts = []
    if run.stages:
        heads, rows = make_stage_table(run)
        parts += ["<h3>Stages</h3>", write_table(heads, rows)]
    if run.seams:
        heads, rows = make_seam_table(run)
        table = write_table(heads, rows, words=len(heads) - 1)
        note = f"<p class='muted'>{escape(SEAM_NOTE)}</p>"
        parts += ["<h3>Seams</h3>", table, note]
    return parts


def _samples(run: Run) -> list[str]:
    """What the model writes, the prompt in bold."""
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


def _tell_apart(runs: list[Run]) -> list[Run]:
    """Numbers the runs whose folders have the same name."""
    counts = Counter(run.name for run in runs)
    return [
        dataclasses.replace(run, name=f"{run.name} ({index + 1})")
        if counts[run.name] > 1
        else run
        for index, run in enumerate(runs)
    ]
