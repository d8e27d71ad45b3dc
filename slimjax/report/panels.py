"""The panels of a run's figures: error, metric, size and speed over the steps."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from slimjax.report import style
from slimjax.report.bits import has_bits
from slimjax.report.metrics import (
    BITS_PER_BYTE,
    LOSSES,
    Metric,
    label_metric,
    loss_words,
)
from slimjax.report.quantities import format_decimal, format_percent, number
from slimjax.report.read import SIZES, Json, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = {"params": style.BLUE, "flops_per_token": style.TEAL, "bytes": style.ORANGE}
DASHES = {"params": (0, (3, 3)), "flops_per_token": (3, (3, 3)), "bytes": (0, (1, 2))}
"""Two lines at one place are both seen."""

PALE = {"params": style.PALE_BLUE, "flops_per_token": style.PALE_TEAL}
PALE |= {"bytes": style.PALE_ORANGE}


def draw_error(axes: "Axes", run: Run) -> None:
    """Draws the training and the validation error over the steps.

    Both are in bits per byte where the log has them, else the loss in nats. The
    training error is smoothed within each stage, so that a seam keeps its jump.
    """
    unit, train_name, valid_name = _error_names(run)
    steps, train = read_series(run.metrics, train_name)
    valid = read_series(run.metrics, valid_name)
    marker = "o" if len(train) == 1 else None
    axes.plot(steps, train, color=style.PALE_BLUE, linewidth=0.9, marker=marker)
    label: str | None = "training, smoothed"
    for low, high in pairwise(_stage_borders(run)):
        inside = (steps >= low) & (steps < high)
        axes.plot(
            *(steps[inside], smooth(train[inside], half=len(train) // 40)),
            color=style.BLUE,
            linewidth=1.9,
            label=label if inside.sum() > 1 else None,
        )
        label = None if inside.sum() > 1 else label
    _draw_validation(axes, *valid)
    style.dress(axes, x_label="", y_label=unit)
    _cut_off_the_start(axes, train, valid[1])


def draw_metric(axes: "Axes", run: Run, metric: Metric) -> None:
    """Draws a metric of the validation split over the steps."""
    _draw_validation(axes, *read_series(run.metrics, f"valid_{metric.key}"))
    style.dress(axes, x_label="", y_label=label_metric(metric))


def draw_size(axes: "Axes", run: Run) -> None:
    """Draws the sizes of the model over the steps, as parts of the start.

    The size that the run was to make small is filled, and has its last value in words.
    """
    from matplotlib.ticker import PercentFormatter

    asked, others = run.asked_measure, ["params", "flops_per_token"]
    others += ["bytes"] if has_bits(run) else []
    for name in [asked, *(name for name in others if name != asked)]:
        steps, fractions = _fractions(run, name)
        look: dict[str, Any] = {"drawstyle": "steps-post", "color": COLORS[name]}
        if name == asked:
            look |= {"linewidth": 2.2, "zorder": 2.5}
            fill: dict[str, Any] = {"step": "post", "color": PALE[name]}
            axes.fill_between(steps, fractions, alpha=0.45, linewidth=0, **fill)
            if len(fractions):
                place, text = (steps[-1], fractions[-1]), format_percent(fractions[-1])
                write_value(axes, *place, text, COLORS[name])
        else:
            look |= {"linewidth": 1.4, "linestyle": DASHES[name], "zorder": 3}
        axes.plot(steps, fractions, label=SIZES[name], **look)
    style.dress(axes, x_label="", y_label="size, % of the start")
    highest = max(1.0, _highest(axes))
    axes.set_ylim(0, 1.3 * highest)  # Room for the names of stages.
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= highest])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def draw_speed(axes: "Axes", run: Run) -> None:
    """Draws the speed of training: each logged step, and the median of each stage."""
    from matplotlib.ticker import EngFormatter

    unit, steps, speeds = _speeds(run.metrics)
    axes.plot(steps, speeds, color=style.PALE_TEAL, linewidth=0.9)
    medians = []
    for low, high in pairwise(_stage_borders(run)):
        inside = speeds[(steps >= low) & (steps < high)]
        if len(inside):
            medians.append(float(np.median(inside)))
            ends = [low, min(high, run.last_step)]
            axes.plot(ends, medians[-1:] * 2, color=style.TEAL, linewidth=2.2)
    style.dress(axes, x_label="", y_label=unit)
    axes.yaxis.set_major_formatter(EngFormatter())
    if medians and max(medians) > 0:
        axes.set_ylim(0, 1.25 * max(medians))


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


def read_series(metrics: list[Json], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps at which a value was logged, and its values."""
    pairs = [(number(row, "step"), number(row, name)) for row in metrics]
    known = [(step, value) for step, value in pairs if value is not None]
    steps, values = np.array(known, dtype=float).reshape(-1, 2).T
    return steps, values


def write_value(axes: "Axes", x: float, y: float, text: str, color: str) -> None:
    """Writes a value in bold above the point that has it, at the right end."""
    axes.annotate(
        text,
        (x, y),
        xytext=(0, 6),
        textcoords="offset points",
        ha="right",
        fontsize=style.FONT_PT,
        fontweight="bold",
        color=color,
        zorder=4,
    )


def _error_names(run: Run) -> tuple[str, str, str]:
    """Returns the unit of the error and its names in the log."""
    if any(number(row, BITS_PER_BYTE) is not None for row in run.metrics):
        return "error, bits per byte", BITS_PER_BYTE, f"valid_{BITS_PER_BYTE}"
    logged = {name for row in run.metrics for name in row}
    names = [f"valid_{name}" for name in LOSSES]
    valid = next((name for name in names if name in logged), names[0])
    return f"loss, {loss_words(run)}", "loss", valid


def _draw_validation(axes: "Axes", steps: np.ndarray, values: np.ndarray) -> None:
    look: dict[str, Any] = {"color": style.ORANGE, "linewidth": 1.4, "marker": "o"}
    look |= {"markersize": 4.5, "markeredgecolor": style.WHITE, "markeredgewidth": 0.6}
    axes.plot(steps, values, label="validation" if len(values) else None, **look)
    if len(values):
        text = format_decimal(values[-1], digits=2)
        write_value(axes, steps[-1], values[-1], text, style.ORANGE)


def _stage_borders(run: Run) -> list[float]:
    seams = [number(seam, "step") or 0.0 for seam in run.taken_seams]
    return [float(run.first_step), *(step + 0.5 for step in seams), np.inf]


def _cut_off_the_start(axes: "Axes", train: np.ndarray, valid: np.ndarray) -> None:
    """Lets the first steps, which are far above the rest, leave the figure."""
    values = np.concatenate([train, valid[1:]])
    if len(values) < 20:
        return
    late = np.quantile(train[len(train) // 2 :], 0.99) if len(train) else -np.inf
    low, high = values.min(), max(np.quantile(values, 0.92), late)
    if high > low:
        axes.set_ylim(low - 0.10 * (high - low), high + 0.12 * (high - low))


def _fractions(run: Run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns a size at the beginning, after each seam and at logged steps."""
    steps, values = read_series(run.metrics, name)
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
    steps, speeds = read_series(metrics, "tokens_per_s")
    if len(speeds):
        return "tokens/s, training", steps, speeds
    steps, times = read_series(metrics, "step_time_s")
    return "time per step, ms", steps, 1000 * times
