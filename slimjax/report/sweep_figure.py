"""The figure of a sweep: metric against size, with intervals over the seeds."""

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from slimjax.report import style
from slimjax.report.metrics import SPLITS, label_metric
from slimjax.report.quantities import number
from slimjax.report.sweep_table import (
    Json,
    changes_of,
    has_test,
    list_sweep_metrics,
    shorten,
    show_value,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZES = {
    "params": ("params", "parameters"),
    "flops": ("flops_per_token", "FLOPs per token, forward"),
    "bytes": ("packed_file_bytes", "bytes of the model file"),
    "kv_bytes": ("kv_bytes_per_token", "KV-cache bytes per token"),
}
SETS_SIZE = ("objective.budget", "objective.alpha", "model.")
"""Settings whose values are points of one line, and not separate lines."""

COLORS = (style.BLUE, style.ORANGE, style.TEAL, style.RED, style.GREEN, "#8463b8")
MARKERS = "osD^vP"
APART_PT = 5.0  # Between lines, sideways: arms of one budget have nearly one size.
WIDE = 4.0  # Ratio of the largest size to the smallest from which x is logarithmic.
MOST_BAR = 0.7  # How far bars may stretch the y axis, in heights of the points.


BETWEEN_SETTINGS = r", (?=[A-Za-z_]+ )"  # Not between the numbers of a list.
MAX_LABEL = 72  # Characters of a line's name.
LEGEND_ROW_IN, LEGEND_LETTER_IN, LEGEND_MARK_IN = 0.21, 0.085, 0.75  # Inches.


class Point(NamedTuple):
    """An arm in the figure.

    Attributes:
        size: Mean size.
        error: Mean of the metric.
        half: Half of the interval of that mean, or None.
        runs: Size and metric of each run.
    """

    size: float
    error: float
    half: float | None
    runs: list[tuple[float, float]]


def plot_sweep(sweep: Json) -> "Figure":
    """Plots the headline metric against size: large points are arms, pale ones runs.

    The size is the measure that the arms were to make small, or parameters where they
    differ in that; the metric is of the test split, or of the validation split where
    that is all there is. Arms without a finished run have no point. The legend is below
    the axes, and the figure grows by its height.
    """
    from matplotlib.ticker import EngFormatter

    measures = {arm.get("measure") for arm in sweep["arms"]}
    measure = measures.pop() if len(measures) == 1 else "params"
    quantity, x_label = SIZES.get(str(measure), SIZES["params"])
    metric = list_sweep_metrics(sweep)[0]
    split, lines = find_lines(sweep, quantity)
    lines = shorten_labels(lines)
    columns = count_columns(list(lines))
    figure = style.make_figure(4.4 + LEGEND_ROW_IN * math.ceil(len(lines) / columns))
    axes = figure.subplots()
    y_label = f"{label_metric(metric)}, {SPLITS[split]}"
    style.dress(axes, x_label=x_label, y_label=y_label)
    for index, (label, points) in enumerate(lines.items()):
        color = COLORS[index % len(COLORS)]
        marker = MARKERS[index // len(COLORS) % len(MARKERS)]
        place = _shift(axes, APART_PT * (index - (len(lines) - 1) / 2))
        look = {"color": color, "marker": marker, "transform": place}
        _draw_line(axes, sorted(points), label, look)
    points = [point for line in lines.values() for point in line]
    if points:
        _set_limits(axes, points)
    axes.xaxis.set_major_formatter(EngFormatter())
    style.add_legend_below(figure, axes, columns)
    return figure


def find_lines(sweep: Json, quantity: str) -> tuple[str, dict[str, list[Point]]]:
    """Returns the split, and the points of each line by its label."""
    known = [arm for arm in sweep["arms"] if number(arm, "means", quantity, "mean")]
    key = list_sweep_metrics(sweep)[0].key
    split = "test" if has_test(sweep, key) else "valid"
    name = f"{split}_{key}"
    lines: dict[str, list[Point]] = {}
    for arm in known:
        mean, low, high = (number(arm, "means", name, end) for end in _ENDS)
        size = number(arm, "means", quantity, "mean")
        if mean is None or size is None:
            continue
        half = None if low is None or high is None else (high - low) / 2
        runs = [(number(t, quantity), number(t, name)) for t in arm["trials"]]
        whole = [(x, y) for x, y in runs if x is not None and y is not None]
        lines.setdefault(_label(arm), []).append(Point(size, mean, half, whole))
    return split, lines


def shorten_labels(lines: dict[str, list[Point]]) -> dict[str, list[Point]]:
    """Leaves out of the labels what is in all of them, and cuts very long ones.

    Examples:
        >>> list(shorten_labels({"depth 2, bits [8, 4]": [], "depth 2, bits [4]": []}))
        ['bits [8, 4]', 'bits [4]']
    """
    parts = [re.split(BETWEEN_SETTINGS, label) for label in lines]
    shared = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    shortened: dict[str, list[Point]] = {}
    for words, points in zip(parts, lines.values(), strict=True):
        label = ", ".join(word for word in words if word not in shared)
        if len(label) > MAX_LABEL:
            label = f"{label[: MAX_LABEL - 3]}..."
        while label in shortened:  # Two long labels that begin alike.
            label += "'"
        shortened[label] = points
    return shortened


def count_columns(labels: list[str]) -> int:
    """Returns how many labels fit beside each other below the axes."""
    longest = max([1, *map(len, labels)])
    room = style.WIDTH_IN / (LEGEND_LETTER_IN * longest + LEGEND_MARK_IN)
    return max(1, min(int(room), len(labels), 4))


_ENDS = ("mean", "low", "high")


def _label(arm: Json) -> str:
    """Returns the name of a line: all changes that do not set the size."""
    parts = [
        f"{shorten(name)} {_plain(value)}"
        for name, value in changes_of(arm).items()
        if not name.startswith(SETS_SIZE)
    ]
    return ", ".join(parts)


def _plain(value: Any) -> str:
    """Returns a value that the figure's font can draw, without its formulas."""
    text = show_value(value).replace("$", r"\$")
    return text if text.isascii() else "?"


def _shift(axes: "Axes", points: float) -> Any:
    """Returns the place of data, moved to the right by so many points."""
    from matplotlib.transforms import ScaledTranslation

    scale = axes.get_figure(root=True).dpi_scale_trans  # pyright: ignore
    return axes.transData + ScaledTranslation(points / 72, 0, scale)


def _draw_line(axes: "Axes", points: list[Point], label: str, look: Json) -> None:
    sizes, errors = [p.size for p in points], [p.error for p in points]
    joined: Json = look | {"marker": ""}
    axes.plot(sizes, errors, linewidth=1.2, alpha=0.5, **joined)
    for x, y in (run for point in points for run in point.runs):
        axes.plot(x, y, alpha=0.35, markersize=4, mew=0, **look)
    axes.errorbar(
        *(sizes, errors),
        yerr=[point.half or 0.0 for point in points],
        linestyle="",
        markersize=7.5,
        markeredgecolor=style.WHITE,
        elinewidth=1.4,
        capsize=3.5,
        label=label or None,
        zorder=3,
        **look,
    )


def _set_limits(axes: "Axes", points: list[Point]) -> None:
    """Shows all runs, and the bars where they leave room for the runs."""
    from matplotlib.ticker import LogLocator, NullLocator

    errors = [e for p in points for e in (p.error, *(run[1] for run in p.runs))]
    halves = [point.half or 0.0 for point in points]
    low, high = min(errors), max(errors)
    height = high - low or max(max(halves), 0.01 * high, 1e-6)
    bottom = min(p.error - half for p, half in zip(points, halves, strict=True))
    top = max(p.error + half for p, half in zip(points, halves, strict=True))
    room, margin = MOST_BAR * height, 0.08 * height
    axes.set_ylim(
        max(min(bottom, low), low - room) - margin,
        min(max(top, high), high + room) + margin,
    )
    sizes = [size for p in points for size in (p.size, *(run[0] for run in p.runs))]
    left, right = min(sizes), max(sizes)
    if left > 0 and right / left > WIDE:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(left * (left / right) ** 0.1, right * (right / left) ** 0.1)
    else:
        margin = 0.1 * (right - left or 0.1 * right or 1.0)
        axes.set_xlim(left - margin, right + margin)
