"""The report: from run folders to tables, figures and one self-contained page.

This room reads files and never trains; it loads no jax, and matplotlib only when a
figure is drawn. Its files, from the ground up:

- `quantities`: numbers for readers (``1.2 M``, ``41 %``, ``1.86x``).
- `so_far`: what can be read from the logs of a run without ``report.json``.
- `read`: a run folder, finished or still running, as one frozen `Run`.
- `metrics`: the metrics of a run, and what several runs are compared by.
- `history`: the stages and the seams in two tables.
- `description`: the description length of the training text.
- `terminal`: lines and tables for a terminal or a pipe.
- `table`: the table start / end / ratio, for the page and for the terminal.
- `style`: the colours and the looks that all figures share.
- `panels`: error, metric, size and speed over the steps.
- `figures`: figures of one run, made of panels, with stages and seams marked.
- `frontier`: several runs, size against the headline metric.
- `structure`: the model layer by layer, with what was cut and when.
- `answer_lines`: what was expected and predicted in a line of a prediction file.
- `answer_kinds`: kinds of answers, and their columns of metrics.
- `answers`: the answers of a run, read from its prediction file.
- `answer_tables`, `answer_figures`, `answer_texts`: metrics, curves, and mistakes.
- `overfitting`: training beside validation, before a cut and at the end.
- `versus`: runs on the same examples, with paired tests.
- `answer_page`: the part of a page with all of these.
- `markup`: HTML tables and pages; all text is escaped.
- `images`: figures inside a page and beside it.
- `page`: all of it on one HTML page, with the PNGs beside it.
- `sweep_table`, `sweep_figure`, `sweep_page`: many runs of a sweep, with intervals.
- `tune_table`, `tune_figure`, `tune_page`: a path through sizes, and what a rule says.

Typical use::

    from pathlib import Path
    from slimjax import report

    run = report.read_run("runs/wikitext")
    report.print_table(run)
    report.write_report([run], Path("report.html"))
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.report.bits import plot_bits
    from slimjax.report.figures import plot_run, plot_seams, plot_speed
    from slimjax.report.frontier import plot_frontier
    from slimjax.report.page import write_report
    from slimjax.report.read import Run, read_run
    from slimjax.report.structure import plot_structure
    from slimjax.report.sweep_figure import plot_sweep
    from slimjax.report.sweep_page import write_sweep
    from slimjax.report.sweep_table import print_sweep, read_sweep
    from slimjax.report.table import Row, make_table, print_table, summarize
    from slimjax.report.terminal import print_cells, print_line
    from slimjax.report.tune_page import write_tune, write_tunes
    from slimjax.report.tune_table import holds_tune, print_tune, read_tune

__all__ = [
    "Row",
    "Run",
    "holds_tune",
    "make_table",
    "plot_bits",
    "plot_frontier",
    "plot_run",
    "plot_seams",
    "plot_speed",
    "plot_structure",
    "plot_sweep",
    "print_cells",
    "print_line",
    "print_sweep",
    "print_table",
    "print_tune",
    "read_run",
    "read_sweep",
    "read_tune",
    "summarize",
    "write_report",
    "write_sweep",
    "write_tune",
    "write_tunes",
]

_FILES = {
    "bits": ("plot_bits",),
    "figures": ("plot_run", "plot_seams", "plot_speed"),
    "frontier": ("plot_frontier",),
    "page": ("write_report",),
    "read": ("Run", "read_run"),
    "structure": ("plot_structure",),
    "sweep_figure": ("plot_sweep",),
    "sweep_page": ("write_sweep",),
    "sweep_table": ("print_sweep", "read_sweep"),
    "table": ("Row", "make_table", "print_table", "summarize"),
    "terminal": ("print_cells", "print_line"),
    "tune_page": ("write_tune", "write_tunes"),
    "tune_table": ("holds_tune", "print_tune", "read_tune"),
}
_HOMES = {name: file for file, names in _FILES.items() for name in names}

__getattr__ = exports(__name__, _HOMES)
