"""The figures of a run: its error, its size and speed, and its seams."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from slimjax.report import style
from slimjax.report.bits import has_bits
from slimjax.report.quantities import format_signed, number
from slimjax.report.read import Json, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_WRITTEN, MAX_NAMED = 6, 10  # Seams that have room for values, and for names.


def plot_loss(run: Run) -> "Figure":
    """Plots the training and the validation error over the steps.

    Both are in bits a byte where the log has them, else in nats a token. The training
    error is smoothed within each stage, so that a seam keeps its jump.
    """
    unit, train_name, valid_name = _error_unit(run.metrics)
    figure = style.make_figure(4.2)
    axes = figure.subplots()
    steps, train = _series(run.metrics, train_name)
    valid_steps, valid = _series(run.metrics, valid_name)

    marker = "o" if len(train) == 1 else None
    axes.plot(steps, train, color=style.PALE_BLUE, linewidth=0.9, marker=marker)
    label = "training, smoothed"
    for low, high in pairwise(_stage_borders(run)):
        inside = (steps >= low) & (steps < high)
        axes.plot(
            *(steps[inside], smooth(train[inside], half=len(train) // 40)),
            color=style.BLUE,
            linewidth=1.9,
            label=label if inside.sum() > 1 else None,
        )
        label = None if inside.sum() > 1 else label
    axes.plot(
        *(valid_steps, valid),
        color=style.ORANGE,
        linewidth=1.4,
        marker="o",
        markersize=4.5,
        markeredgecolor=style.WHITE,
        markeredgewidth=0.6,
        label="validation" if len(valid) else None,
    )
    if len(valid):
        _write_value(axes, valid_steps[-1], valid[-1])
    style.dress(axes, x_label="step", y_label=f"error, {unit}")
    style.show_steps(axes, run)
    _cut_off_the_start(axes, train, valid)
    style.mark_seams(axes, run)
    style.add_legend(axes, loc="upper right")
    return figure


def plot_size_and_speed(run: Run) -> "Figure":
    """Plots size as a fraction of the start, and below it the speed of training."""
    from matplotlib.ticker import EngFormatter, FuncFormatter

    figure = style.make_figure(5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.15, 1.0])
    lines = [
        ("flops_per_token", "FLOPs a token", style.PALE_TEAL, 5.5),
        ("params", "parameters", style.BLUE, 2.0),  # Over the other: often they agree.
    ]
    if has_bits(run):
        lines += [("bytes", "bytes", style.ORANGE, 2.0)]
    for name, label, color, width in lines:
        steps, fractions = _fractions(run, name)
        look = {"color": color, "linewidth": width, "label": label}
        above.plot(steps, fractions, drawstyle="steps-post", **look)
    style.dress(above, x_label="", y_label="size, % of the start")
    above.set_ylim(0, 1.08 * max(1.0, _highest(above)))
    above.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))
    style.mark_seams(above, run)
    style.add_legend(above, loc="best")

    unit, steps, speeds = _speeds(run.metrics)
    below.plot(steps, speeds, color=style.PALE_TEAL, linewidth=0.9)
    medians = []
    for low, high in pairwise(_stage_borders(run)):
        inside = speeds[(steps >= low) & (steps < high)]
        if len(inside):
            medians.append(float(np.median(inside)))
            ends = [low, min(high, run.last_step)]
            below.plot(ends, medians[-1:] * 2, color=style.TEAL, linewidth=2.2)
    style.dress(below, x_label="step", y_label=unit)
    below.yaxis.set_major_formatter(EngFormatter())
    if medians and max(medians) > 0:
        below.set_ylim(0, 1.25 * max(medians))
    style.mark_seams(below, run, labels=False)
    style.show_steps(below, run)
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
    style.dress(axes, x_label="", y_label="change of the loss, nats a token")
    axes.axhline(0, color=style.MUTED, linewidth=0.9)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.16)
    middle, half = (len(seams) - 1) / 2, max(len(seams), 3) / 2
    axes.set_xlim(middle - half, middle + half)
    axes.set_xticks(places, _seam_names(seams), color=style.INK)
    if seams:
        style.add_legend(axes, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    return figure


def smooth(values: np.ndarray, half: int) -> np.ndarray:
    """Returns, at each place, the line fitted to `half` neighbours on each side.

    Where neighbours are missing, at the ends, a mean would lag behind a slope and feign
    a jump at each seam; a line does not.

    Examples:
        >>> smooth(np.array([1.0, 3.0, 5.0, 7.0]), half=2)
        array([1., 3., 5., 7.])
    """
    index = np.arange(len(values))
    smoothed = np.array(values, dtype=float)
    for place in index if half else ():
        near = slice(max(place - half, 0), place + half + 1)
        away, level = index[near] - index[near].mean(), values[near].mean()
        slope = away @ values[near] / max(away @ away, 1)
        smoothed[place] = level + slope * (place - index[near].mean())
    return smoothed


def _error_unit(metrics: list[Json]) -> tuple[str, str, str]:
    if any(number(row, "bits_per_byte") is not None for row in metrics):
        return "bits a byte", "bits_per_byte", "valid_bits_per_byte"
    return "nats a token", "loss", "valid_nats_per_token"


def _series(metrics: list[Json], name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(number(row, "step"), number(row, name)) for row in metrics]
    known = [(step, value) for step, value in pairs if value is not None]
    steps, values = np.array(known, dtype=float).reshape(-1, 2).T
    return steps, values


def _stage_borders(run: Run) -> list[float]:
    seams = [number(seam, "step") or 0.0 for seam in run.taken_seams]
    return [float(run.first_step), *(step + 0.5 for step in seams), np.inf]


def _write_value(axes: "Axes", x: float, y: float) -> None:
    axes.annotate(
        f"{y:.2f}",
        (x, y),
        xytext=(0, 6),
        textcoords="offset points",
        ha="right",
        fontsize=style.FONT_PT,
        fontweight="bold",
        color=style.ORANGE,
    )


def _cut_off_the_start(axes: "Axes", train: np.ndarray, valid: np.ndarray) -> None:
    """Lets the first steps, which would flatten the rest, run off the top."""
    values = np.concatenate([train, valid[1:]])
    if len(values) < 20:
        return
    late = np.quantile(train[len(train) // 2 :], 0.99) if len(train) else -np.inf
    low, high = values.min(), max(np.quantile(values, 0.92), late)
    if high > low:
        axes.set_ylim(low - 0.10 * (high - low), high + 0.12 * (high - low))


def _fractions(run: Run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns a size at the beginning, after each seam and at logged steps."""
    steps, values = _series(run.metrics, name)
    start = number(run.report, "size", f"{name}_start")
    if start is None and len(values):
        start = float(values[0])
    if not start:
        return steps[:0], values[:0]
    first = number(run.stages, 0, name) or start
    points = dict(zip(steps, values, strict=True))
    for seam in run.taken_seams:
        step = number(seam, "step") or 0.0
        later = values[steps > step]
        points |= {step: float(later[0])} if len(later) else {}
    points = {float(run.first_step): first} | points
    steps = np.array(sorted(points))
    return steps, np.array([points[step] for step in steps]) / start


def _highest(axes: "Axes") -> float:
    tops = [
        np.max(y) for line in axes.lines if (y := np.asarray(line.get_ydata())).size
    ]
    return float(max(tops, default=1.0))


def _speeds(metrics: list[Json]) -> tuple[str, np.ndarray, np.ndarray]:
    steps, speeds = _series(metrics, "tokens_per_s")
    if len(speeds):
        return "tokens/s, training", steps, speeds
    steps, times = _series(metrics, "step_time_s")
    return "time a step, ms", steps, 1000 * times


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


def _seam_names(seams: list[Json]) -> list[str]:
    if len(seams) > MAX_NAMED:
        return [str(index + 1) for index in range(len(seams))]
    return [
        f"seam {index + 1}\nstep {number(seam, 'step'):,.0f}\n"
        f"{style.describe_change(seam)}"
        for index, seam in enumerate(seams)
    ]
