"""A sweep on one page: the table, and the figure of metric against size."""

from pathlib import Path

from slimjax.paths import user_path
from slimjax.report.images import embed, write_with_images
from slimjax.report.markup import escape, write_page, write_table
from slimjax.report.sweep_figure import plot_sweep
from slimjax.report.sweep_table import (
    Json,
    explain_sweep,
    list_sweep_metrics,
    make_sweep_table,
    write_markdown,
)
from slimjax.store.files import write_atomic

CAPTION = (
    "Size against {words}. A large point is the mean of an arm, its bar the 95 % "
    "interval of that mean, which may leave the figure where seeds are few; a pale dot "
    "is a run. Lines join arms that differ in budget, price or shape only; {corner} is "
    "better."
)


def write_sweep(sweep: Json, output: str | Path) -> list[Path]:
    """Writes the page, its figure as a PNG file, and the table as Markdown.

    Args:
        sweep: The content of ``sweep.json``.
        output: The page, such as ``sweep.html``; beside it are ``sweep_error.png``
            and ``sweep.md``.

    Returns:
        The files written, the page first.
    """
    output = user_path(output)
    metric = list_sweep_metrics(sweep)[0]
    corner = "upper left" if metric.better == "high" else "lower left"
    caption = CAPTION.format(words=metric.words, corner=corner)
    heads, rows = make_sweep_table(sweep)
    images: dict[str, bytes] = {}
    parts = [
        write_table(heads, rows),
        *(f"<p class='muted'>{escape(text)}</p>" for text in explain_sweep(sweep)),
        embed(plot_sweep(sweep), "error", caption, images),
    ]
    page = write_page(f"Sweep {sweep.get('name', '')}", parts)
    table = output.with_suffix(".md")
    write_atomic(table, write_markdown(sweep).encode())
    return [*write_with_images(output, page, images), table]
