"""Several runs in one figure: size against the headline metric."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from slimjax.report import style
from slimjax.report.bits import has_bits
from slimjax.report.metrics import SPLITS, compare, label_metric
from slimjax.report.quantities import number
from slimjax.report.read import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_NAME = 28  # Characters of a run's name beside its point.
LINE_PT, LETTER_PT = 12.0, 5.6  # Room for a line of text, and for a letter of it.
AXES_PT = np.array([560.0, 270.0])  # About the inside of the axes, in points.

SIZES = {
    "params": ("params", "parameters"),
    "flops": ("flops_per_token", "FLOPs per token, forward"),
    "bytes": ("bytes", "bytes of the model"),
    "kv_bytes": ("kv_bytes_per_token", "KV-cache bytes per token"),
}
"""Name in ``report.json`` and words of each measure."""

Point = tuple[float, float, str]  # Size, metric, name.


class Box(NamedTuple):
    """The place of a text inside the axes, in points from the lower left corner."""

    left: float
    bottom: float
    right: float
    top: float


def plot_frontier(runs: list[Run]) -> "Figure":
    """Plots the headline metric against size, and the frontier that the runs span.

    The size is the measure that all runs were to make small; bytes where units of a run
    have bits of their own; else parameters. The metric is of the test split if all
    runs have it, else of the validation split. A run without a size or a value has no
    point. Runs that must not be compared get no line.
    """
    from matplotlib.ticker import EngFormatter

    measure, label = SIZES[_find_measure(runs)]
    metric, split, values, obstacle = compare(runs)
    points = [
        (size, value, _plain_name(run.name, index))
        for index, (run, value) in enumerate(zip(runs, values, strict=True))
        if (size := number(run.report, "size", measure)) is not None
        and value is not None
    ]
    figure = style.make_figure(4.6)
    axes = figure.subplots()
    style.dress(axes, x_label=label, y_label=f"{label_metric(metric)}, {SPLITS[split]}")
    axes.xaxis.set_major_formatter(EngFormatter())
    if points:
        if not obstacle:
            best = find_frontier([(x, y) for x, y, _ in points], metric.better)
            line: Any = {"drawstyle": "steps-post", "color": style.PALE_BLUE}
            axes.plot(*zip(*best, strict=True), linewidth=2.0, **line)
        sizes, errors, _ = zip(*points, strict=True)
        axes.plot(sizes, errors, "o", color=style.BLUE, markersize=7, zorder=3)
        axes.margins(x=0.12, y=0.16)
        _write_names(axes, points)
    return figure


def find_frontier(
    points: list[tuple[float, float]], better: str = "low"
) -> list[tuple[float, float]]:
    """Returns the points that no other point beats in both size and metric.

    Args:
        points: Size and metric of each run; a smaller size is better.
        better: Which metric is better, ``low`` or ``high``.

    Examples:
        >>> find_frontier([(1, 3.0), (2, 2.0), (3, 2.5)])
        [(1, 3.0), (2, 2.0)]
        >>> find_frontier([(1, 0.7), (2, 0.6), (3, 0.8)], better="high")
        [(1, 0.7), (3, 0.8)]
    """
    sign = -1 if better == "high" else 1
    best: list[tuple[float, float]] = []
    for size, value in sorted(points, key=lambda point: (point[0], sign * point[1])):
        if not best or sign * value < sign * best[-1][1]:
            best.append((size, value))
    return best


def _find_measure(runs: list[Run]) -> str:
    if any(map(has_bits, runs)):
        return "bytes"
    blocks = [run.report.get("size") for run in runs]
    measures = {b.get("measure") if isinstance(b, dict) else None for b in blocks}
    measure = measures.pop() if len(measures) == 1 else None
    return measure if isinstance(measure, str) and measure in SIZES else "params"


def _plain_name(name: str, index: int) -> str:
    """Returns a name that the figure's font can draw."""
    if not name.isascii():
        return f"run {index + 1}"
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}..."


def _write_names(axes: "Axes", points: list[Point]) -> None:
    """Writes each name where it covers no other name, if there is room."""
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
    touching = [
        box.left < other.right
        and other.left < box.right
        and box.bottom < other.top
        and other.bottom < box.top
        for other in others
    ]
    return 3 * (not inside) + sum(map(bool, touching))
