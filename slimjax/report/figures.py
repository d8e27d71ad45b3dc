"""The figures of a run: its stages and seams, its speed, and what seams cost."""

from typing import TYPE_CHECKING

import numpy as np

from slimjax.report import style
from slimjax.report.metrics import BITS_PER_BYTE, headline, loss_words
from slimjax.report.panels import (
    draw_error,
    draw_metric,
    draw_size,
    draw_speed,
    read_series,
)
from slimjax.report.quantities import format_signed, number
from slimjax.report.read import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_WRITTEN, MAX_NAMED = 6, 10  # Seams that have room for values, and for names.


def plot_run(run: Run) -> "Figure":
    """Plots error and size over the steps, with the stages and the seams.

    Where the headline of the task is not the error itself, it has a panel in between.
    """
    metric = headline(run)
    has_metric = metric.key != BITS_PER_BYTE
    has_metric &= bool(len(read_series(run.metrics, f"valid_{metric.key}")[0]))
    heights = [1.5, 0.9, 1.0] if has_metric else [1.5, 1.0]
    figure = style.make_figure(2.3 * sum(heights) + 0.3)
    error, *middle, size = figure.subplots(
        len(heights), 1, sharex=True, height_ratios=heights
    )
    style.shade_stages(error, run)
    draw_error(error, run)
    style.mark_seams(error, run)
    for axes in middle:
        style.shade_stages(axes, run)
        draw_metric(axes, run, metric)
        style.mark_seams(axes, run, labels=False)
    style.shade_stages(size, run, labels=True)
    draw_size(size, run)
    style.mark_seams(size, run, labels=False)
    style.show_steps(size, run)
    style.add_legend(size, loc="lower left")
    style.add_title(figure, f"Error and size over the steps: {_count(run)}", error)
    return figure


def plot_speed(run: Run) -> "Figure":
    """Plots the speed of training over the steps."""
    figure = style.make_figure(2.6)
    axes = figure.subplots()
    draw_speed(axes, run)
    style.mark_seams(axes, run)
    style.show_steps(axes, run)
    return figure


def plot_seams(run: Run) -> "Figure":
    """Plots, for each seam taken, the predicted beside the true change of the loss."""
    seams = run.taken_seams
    figure = style.make_figure(3.6)
    axes = figure.subplots()
    places, width = np.arange(len(seams)), 0.36
    for name, label, side, color in (
        ("predicted_loss_change", "predicted", -0.5, style.PALE_BLUE),
        ("true_loss_change", "true", 0.5, style.ORANGE),
    ):
        changes = [number(seam, name) for seam in seams]
        heights = [change or 0.0 for change in changes]
        middles = places + side * width
        axes.bar(middles, heights, 0.92 * width, color=color, label=label)
        if len(seams) <= MAX_WRITTEN:
            _write_changes(axes, middles, changes)
    style.dress(axes, x_label="", y_label=f"change of the loss, {loss_words(run)}")
    axes.axhline(0, color=style.MUTED, linewidth=0.9)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.16)
    middle, half = (len(seams) - 1) / 2, max(len(seams), 3) / 2
    axes.set_xlim(middle - half, middle + half)
    axes.set_xticks(places, _seam_names(run), color=style.INK)
    if seams:
        style.add_legend(axes, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    return figure


def _count(run: Run) -> str:
    num = len(run.taken_seams)
    stages = "1 stage" if num == 0 else f"{num + 1} stages"
    seams = {0: "no seam", 1: "1 seam"}.get(num, f"{num} seams")
    return f"{stages}, {seams}"


def _write_changes(axes: "Axes", places, changes: list[float | None]) -> None:
    for place, change in zip(places, changes, strict=True):
        axes.annotate(
            "n/a" if change is None else format_signed(change, 3),
            (place, change or 0.0),
            xytext=(0, 3 if (change or 0.0) >= 0 else -3),
            textcoords="offset points",
            ha="center",
            va="bottom" if (change or 0.0) >= 0 else "top",
            fontsize=style.SMALL_PT,
            color=style.MUTED,
        )


def _seam_names(run: Run) -> list[str]:
    seams, size = run.taken_seams, run.asked_measure
    if len(seams) > MAX_NAMED:
        return [str(index + 1) for index in range(len(seams))]
    return [
        f"seam {index + 1}\nstep {number(seam, 'step'):,.0f}\n"
        f"{style.describe_change(seam, size)}"
        for index, seam in enumerate(seams)
    ]
