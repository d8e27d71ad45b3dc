"""The figure of a tune: error against size, with intervals, hull and chosen point."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slimjax.report import style
from slimjax.report.quantities import number
from slimjax.report.tune_table import MEASURES, Json, loss_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = (style.BLUE, style.TEAL, style.ORANGE, style.GREEN, style.RED, "#8463b8")
GREY = style.LINE
TICKS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
"""Sizes with a label, in each power of ten."""


def plot_tune(content: Json, chosen: str) -> "Figure":
    """Plots held-out error against size, both logarithmic.

    The line joins the points of the lower convex hull; dominated points are grey. Other
    curves of the same tune, such as fresh models, stand beside.

    Args:
        content: What ``tune.json`` holds.
        chosen: Name of the point that is marked.
    """
    figure, axes = _open([content])
    _draw_curve(axes, content, "path", COLORS[0], chosen)
    for index, (name, curve) in enumerate(content["compared"].items()):
        _draw_curve(axes, curve, name, COLORS[1 + index % (len(COLORS) - 1)], "")
    style.add_legend_below(figure, axes, 4)
    return figure


def plot_tunes(contents: Sequence[Json], names: Sequence[str]) -> "Figure":
    """Plots several tunes over each other."""
    figure, axes = _open(contents)
    for index, (content, name) in enumerate(zip(contents, names, strict=True)):
        _draw_curve(axes, content, name, COLORS[index % len(COLORS)], "")
    style.add_legend_below(figure, axes, 3)
    return figure


def _open(contents: Sequence[Json]) -> tuple["Figure", "Axes"]:
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    first = contents[0]
    figure = style.make_figure(4.8)
    axes = figure.subplots()
    x_label = MEASURES.get(first["measure"], str(first["measure"]))
    style.dress(axes, x_label=x_label, y_label=f"held-out {loss_unit(first)}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=tuple(1 + i / 20 for i in range(180))))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:.3g}")
    return figure, axes


def _draw_curve(axes: "Axes", curve: Json, name: str, color: str, chosen: str) -> None:
    points = curve["points"]
    hull = [point for point in points if point["on_hull"]]
    sizes, errors = ([point[key] for point in hull] for key in ("size", "error"))
    axes.plot(sizes, errors, color=color, linewidth=1.4, alpha=0.6)
    for kind, look in ((False, color), (True, GREY)):
        own = [point for point in points if point["dominated"] == kind]
        label = name if not kind else None
        if own:
            _draw_points(axes, own, look, label)
    for point in points:
        if point["name"] == chosen:
            ring: Any = {"markersize": 14, "mfc": "none", "mec": style.INK}
            axes.plot(
                point["size"], point["error"], "o", **ring, label="chosen", zorder=4
            )


def _draw_points(
    axes: "Axes", points: Sequence[Json], color: str, label: str | None
) -> None:
    halves = []
    for point in points:
        low, high = number(point, "low"), number(point, "high")
        halves.append(0.0 if low is None or high is None else (high - low) / 2)
    axes.errorbar(
        [point["size"] for point in points],
        [point["error"] for point in points],
        yerr=halves,
        linestyle="",
        marker="o",
        color=color,
        markersize=6.5,
        markeredgecolor=style.WHITE,
        elinewidth=1.3,
        capsize=3.0,
        label=label,
        zorder=3,
    )
