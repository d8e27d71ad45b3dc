"""Several runs in one figure: size against error."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from slimjax.report import style
from slimjax.report.bits import has_bits
from slimjax.report.quantities import number
from slimjax.report.read import Run
from slimjax.report.table import held_out_errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_NAME = 28  # Characters of a run's name beside its point.
LINE_PT, LETTER_PT = 12.0, 5.6  # Room for a line of text, and for a letter of it.
AXES_PT = np.array([560.0, 270.0])  # About the inside of the axes, in points.

Point = tuple[float, float, str]  # Size, error, name.


class Box(NamedTuple):
    """The place of a text inside the axes, in points from the lower left corner."""

    left: float
    bottom: float
    right: float
    top: float


def plot_frontier(runs: list[Run]) -> "Figure":
    """Plots error against size, a point a run, and the frontier they span.

    The size is in parameters; in bytes where units of a run have bits of their own. The
    error is of the test text if all runs have it, else of the validation text. A run
    without a size or an error has no point.
    """
    from matplotlib.ticker import EngFormatter

    measure = "bytes" if any(map(has_bits, runs)) else "params"
    label = {"bytes": "bytes of the model", "params": "parameters"}[measure]
    text, points = _find_points(runs, measure)
    figure = style.make_figure(4.6)
    axes = figure.subplots()
    style.dress(axes, x_label=label, y_label=f"error, bits a byte, {text} text")
    axes.xaxis.set_major_formatter(EngFormatter())
    if points:
        best = find_frontier([(size, error) for size, error, _ in points])
        line = {"drawstyle": "steps-post", "color": style.PALE_BLUE, "linewidth": 2.0}
        axes.plot(*zip(*best, strict=True), **line)
        sizes, errors, _ = zip(*points, strict=True)
        axes.plot(sizes, errors, "o", color=style.BLUE, markersize=7, zorder=3)
        axes.margins(x=0.12, y=0.16)
        _write_names(axes, points)
    return figure


def find_frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the points that no other point beats in both size and error.

    Examples:
        >>> find_frontier([(1, 3.0), (2, 2.0), (3, 2.5)])
        [(1, 3.0), (2, 2.0)]
    """
    best: list[tuple[float, float]] = []
    for size, error in sorted(points):
        if not best or error < best[-1][1]:
            best.append((size, error))
    return best


def _find_points(runs: list[Run], measure: str) -> tuple[str, list[Point]]:
    text, errors = held_out_errors(runs)
    points = []
    for index, (run, error) in enumerate(zip(runs, errors, strict=True)):
        size = number(run.report, "size", measure)
        if size is not None and error is not None:
            points.append((size, error, _plain_name(run.name, index)))
    return text, points


def _plain_name(name: str, index: int) -> str:
    """Returns a name that the figure's font can draw."""
    if not name.isascii():
        return f"run {index + 1}"
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}..."


def _write_names(axes: "Axes", points: list[Point]) -> None:
    """Writes each name where it meets no other name, as far as there is room."""
    low, high = (
        np.array(ends) for ends in zip(axes.get_xlim(), axes.get_ylim(), strict=True)
    )
    centers = [AXES_PT * (np.array(p[:2]) - low) / (high - low) for p in points]
    taken = [Box(x - 4, y - 4, x + 4, y + 4) for x, y in centers]
    for (size, error, name), center in zip(points, centers, strict=True):
        length = LETTER_PT * len(name)
        right, left = 8.0, -8.0 - length
        offsets = [(right, 5.0), (left, 5.0), (right, -14.0), (left, -14.0)]
        offsets += [
            (right, -4.0),
            (left, -4.0),
            (-length / 2, 9.0),
            (-length / 2, -19.0),
        ]
        boxes = [Box(*(center + o), *(center + o + (length, LINE_PT))) for o in offsets]
        costs = [_count_conflicts(box, taken) for box in boxes]
        best = costs.index(min(costs))
        taken.append(boxes[best])
        axes.annotate(
            name,
            (size, error),
            xytext=offsets[best],
            textcoords="offset points",
            fontsize=style.FONT_PT,
            color=style.INK,
            parse_math=False,
            bbox={"facecolor": style.WHITE, "alpha": 0.75, "linewidth": 0, "pad": 1},
        )


def _count_conflicts(box: Box, others: list[Box]) -> int:
    inside = box.left >= 0 and box.bottom >= 0
    inside = inside and box.right <= AXES_PT[0] and box.top <= AXES_PT[1]
    return 3 * (not inside) + sum(
        box.left < other.right
        and other.left < box.right
        and box.bottom < other.top
        and other.bottom < box.top
        for other in others
    )
