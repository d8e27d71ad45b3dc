"""The colours and the dress that all figures share: light, on white.

Figures are made through matplotlib's objects, never through pyplot, so that nothing
global changes and any thread may draw.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

from slimjax.report.quantities import divide, number
from slimjax.report.read import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHITE = "#ffffff"
INK = "#2b3440"  # Text that must be read.
MUTED = "#75808f"  # Text that may be read: ticks, labels of seams.
LINE = "#c5cdd8"  # Frames, outlines, seams.
SEAM = "#8b96a5"
GRID = "#edf0f4"
SHADE = "#f4f6f9"  # Every second stage.

BLUE, PALE_BLUE = "#3b7dbf", "#bcd6ee"  # The model: parameters, what is kept.
ORANGE, PALE_ORANGE = "#e2832a", "#f6d3ae"  # Validation, truth.
TEAL, PALE_TEAL = "#2a9d8f", "#b5dfd9"  # FLOPs, speed.
GREEN = "#6aab5c"  # What has grown.
RED, PALE_RED = "#bf4b3a", "#e6bcb4"  # Sublayers removed as a whole.

WIDTH_IN = 9.0  # 900 px at the usual 100 dots an inch.
TITLE_PT = 11.0
FONT_PT = 9.5
SMALL_PT = 8.0
MIN_LABEL_GAP = 0.055  # Of the width; labels of seams nearer than this would touch.


def make_figure(height_in: float) -> "Figure":
    """Returns an empty white figure of the common width."""
    from matplotlib.figure import Figure

    size = (WIDTH_IN, height_in)
    return Figure(figsize=size, layout="constrained", facecolor=WHITE)


def add_title(figure: "Figure", text: str, axes: "Axes") -> None:
    """Writes a title over the figure at the left, and the axes' legend at the right."""
    look = {"ha": "left", "fontsize": TITLE_PT, "fontweight": "bold", "color": INK}
    figure.suptitle(text, x=0.01, **look)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        where = {"loc": "upper right", "ncols": len(handles), "borderaxespad": 0.2}
        figure.legend(handles, labels, fontsize=FONT_PT, frameon=False, **where)


def dress(axes: "Axes", *, x_label: str, y_label: str) -> None:
    """Gives axes their labels, a faint grid and no more frame than needed."""
    axes.set_facecolor(WHITE)
    axes.set_xlabel(x_label, fontsize=FONT_PT, color=INK)
    axes.set_ylabel(y_label, fontsize=FONT_PT, color=INK)
    axes.tick_params(labelsize=FONT_PT, colors=MUTED, length=3)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)


def add_legend(axes: "Axes", **where) -> None:
    """Adds a legend without a frame, in the size of the labels."""
    if axes.get_legend_handles_labels()[0]:
        box = {"framealpha": 0.85, "edgecolor": "none", "facecolor": WHITE}
        axes.legend(fontsize=FONT_PT, labelcolor=INK, **box, **where)


def add_legend_below(figure: "Figure", axes: "Axes", columns: int) -> None:
    """Adds the legend of axes below them, in so many columns."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        look = {"fontsize": FONT_PT, "labelcolor": INK, "frameon": False}
        where = {"loc": "outside lower left", "ncols": columns}
        figure.legend(handles, labels, **where, **look)


def show_steps(axes: "Axes", run: Run) -> None:
    """Lays the x axis over the steps of the run, in whole numbers."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_xlabel("step", fontsize=FONT_PT, color=INK)
    axes.set_xlim(run.first_step, run.first_step + 1.01 * _num_steps(run))
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10])
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def shade_stages(axes: "Axes", run: Run, *, labels: bool = False) -> None:
    """Shades every second stage; with labels, names the stages that have room."""
    steps = [number(seam, "step") or 0.0 for seam in run.taken_seams]
    borders = [run.first_step, *(s for s in steps if s < run.last_step), run.last_step]
    for index, (start, stop) in enumerate(pairwise(borders)):
        if index % 2:
            axes.axvspan(start, stop, color=SHADE, linewidth=0, zorder=0.5)
        if labels and (stop - start) / _num_steps(run) >= MIN_LABEL_GAP:
            axes.text(
                *((start + stop) / 2, 0.96),
                f"stage {index + 1}",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=SMALL_PT,
                color=MUTED,
            )


def mark_seams(axes: "Axes", run: Run, *, labels: bool = True) -> None:
    """Draws a line at each seam, with its number and its change in size above it.

    A label that would touch the one before it is left out; its line stays.
    """
    last_label = -1.0
    for index, seam in enumerate(run.taken_seams):
        step = number(seam, "step") or 0.0
        look = {"color": SEAM, "linewidth": 1.1, "linestyle": (0, (4, 3))}
        axes.axvline(step, zorder=1.5, **look)
        place = (step - run.first_step) / _num_steps(run)
        if labels and place - last_label >= MIN_LABEL_GAP and place <= 1:
            last_label = place
            axes.text(
                *(step, 1.015),
                f"seam {index + 1}\n{describe_change(seam, run.asked_measure)}",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=SMALL_PT,
                color=MUTED,
            )


def _num_steps(run: Run) -> int:
    return max(run.last_step - run.first_step, 1)


def describe_change(seam: dict, size: str = "params") -> str:
    """Writes how a seam changed a size, in percent.

    Examples:
        >>> describe_change({"params_before": 200, "params_after": 250})
        '+25 %'
    """
    before, after = number(seam, f"{size}_before"), number(seam, f"{size}_after")
    ratio = divide(after, before)
    if ratio is None:
        return "seam"
    digits = 1 if 0 < abs(ratio - 1) < 0.00995 else 0
    text = f"{100 * (ratio - 1):+.{digits}f} %"
    return "±0 %" if ratio == 1 else text.replace("-", "\N{MINUS SIGN}")
