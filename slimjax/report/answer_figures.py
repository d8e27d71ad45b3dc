"""Figures of what a model answered: confusion, ROC, reliability, lengths, values."""

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from slimjax.metrics import classes, scores
from slimjax.metrics.ranking import hit_at
from slimjax.report import style
from slimjax.report.answer_tables import names_of, score_lengths
from slimjax.report.answers import Answers
from slimjax.report.metrics import Metric as Named
from slimjax.report.metrics import label_metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CELLS = 24  # Classes that a matrix shows, the most frequent ones.
MAX_RANK = 30  # Candidates that a curve of hits shows.
MAX_CURVES = 5  # Classes with a curve of their own.
MAX_NAME = 18  # Characters of the name of a class.
CYCLE = (style.BLUE, style.ORANGE, style.TEAL, style.RED, style.GREEN)


def plot_confusion(answers: Answers) -> "Figure":
    """Plots how often each class was predicted as each class, in parts of a row."""
    from matplotlib.colors import LinearSegmentedColormap

    names, columns = names_of(answers), answers.columns
    counts = classes.confusion_matrix(
        columns["label"], columns["prediction"], len(names)
    )
    kept = np.sort(np.argsort(-counts.sum(1), kind="stable")[:MAX_CELLS])
    shown, totals = np.ix_(kept, kept), np.maximum(counts.sum(1, keepdims=True), 1)
    counts, parts = counts[shown], (counts / totals)[shown]
    names = [_short(names[i], i) for i in kept.tolist()]
    cell = 0.9 if len(kept) <= 4 else 0.42
    size = 0.9 + cell * len(kept)
    figure = style.make_figure(size)
    axes = figure.subplots()
    colors = LinearSegmentedColormap.from_list("blues", [style.WHITE, style.BLUE])
    axes.imshow(parts, cmap=colors, vmin=0, vmax=1, aspect="equal")
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            ink = style.WHITE if parts[row, column] > 0.6 else style.INK
            text = f"{counts[row, column]:,}"
            look: Any = {"ha": "center", "va": "center", "fontsize": style.SMALL_PT}
            axes.text(column, row, text, color=ink, **look)
    turn = 0 if max(map(len, names)) <= 11 * cell else 45
    side = "center" if turn == 0 else "right"
    axes.set_xticks(range(len(names)), names, rotation=turn, ha=side)
    axes.set_yticks(range(len(names)), names)
    style.dress(axes, x_label="predicted", y_label="right")
    axes.grid(visible=False)
    return figure


def plot_curves(answers: Answers) -> "Figure":
    """Plots ROC curves, and accuracy by confidence."""
    figure = style.make_figure(3.9)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
    _draw_roc(left, answers)
    _draw_reliability(right, answers)
    return figure


def plot_lengths(answers: Answers) -> "Figure | None":
    """Plots the headline metric by length of what was read; None with few examples."""
    names, values = score_lengths(answers)
    if len(names) < 2:
        return None
    figure = style.make_figure(2.8)
    axes = figure.subplots()
    places = np.arange(len(names))
    middle, low, high = (
        np.array([float(v[part]) for v in values]) for part in range(3)
    )
    errors = np.clip([middle - low, high - middle], 0, None)
    look: Any = {"color": style.BLUE, "ecolor": style.SEAM, "capsize": 4, "fmt": "o"}
    axes.errorbar(places, middle, yerr=errors, **look)
    axes.set_xticks(places, names)
    metric = answers.metrics[0]
    label = label_metric(Named(metric.key, metric.words, metric.better))
    style.dress(axes, x_label="length, characters", y_label=label)
    axes.set_xlim(-0.6, len(names) - 0.4)
    return figure


def plot_values(answers: Answers) -> "Figure":
    """Plots predicted beside right values."""
    right, predicted = answers.columns["value"], answers.columns["prediction"]
    figure = style.make_figure(4.2)
    axes = figure.subplots()
    look: Any = {"s": 14, "color": style.BLUE, "alpha": 0.35, "linewidths": 0}
    axes.scatter(right, predicted, **look)
    ends = [min(right.min(), predicted.min()), max(right.max(), predicted.max())]
    axes.plot(ends, ends, color=style.SEAM, linewidth=1.0, linestyle=(0, (4, 3)))
    style.dress(axes, x_label="right value", y_label="predicted value")
    return figure


def plot_hits(answers: Answers) -> "Figure":
    """Plots how often the right candidate is among the first k."""
    ranks = answers.columns["rank"]
    most = np.arange(1, min(int(ranks.max()), MAX_RANK) + 1)
    figure = style.make_figure(2.8)
    axes = figure.subplots()
    parts = [float(hit_at(ranks, k)) for k in most.tolist()]
    axes.plot(most, parts, color=style.BLUE, linewidth=1.9, marker="o", markersize=3.5)
    style.dress(axes, x_label="first k candidates", y_label="part of queries")
    axes.set_ylim(0, 1.03)
    return figure


def _draw_roc(axes: "Axes", answers: Answers) -> None:
    columns, names = answers.columns, names_of(answers)
    rights = _is_right(answers, len(names))
    order = np.argsort(-rights.sum(0), kind="stable")
    is_pair = len(names) == 2 and answers.kind.name == "classes"
    shown = [1] if is_pair else order[:MAX_CURVES].tolist()
    axes.plot([0, 1], [0, 1], color=style.LINE, linewidth=1.0, linestyle=(0, (4, 3)))
    for color, place in zip(CYCLE, shown, strict=False):
        score, is_right = columns["scores"][:, place], rights[:, place]
        curve = scores.roc_curve(score, is_right)
        if not len(curve.x):
            continue
        area = float(scores.roc_auc(score, is_right))
        label = f"{_short(names[place], place)}, AUC {area:.3f}"
        axes.plot(curve.x, curve.y, color=color, linewidth=1.8, label=label)
    style.dress(axes, x_label="false alarms, part of others", y_label="found, part")
    axes.set_aspect("equal")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    style.add_legend(axes, loc="lower right")


def _is_right(answers: Answers, num: int) -> Bool[np.ndarray, "N C"]:
    """Returns which classes each example has."""
    columns = answers.columns
    if answers.kind.name == "several":
        return columns["labels"]
    return columns["label"][:, None] == np.arange(num)


def _find_bins(answers: Answers) -> scores.Bins:
    """Returns how often answers are right, by how sure the model is of them."""
    columns = answers.columns
    if answers.kind.name == "several":
        return scores.reliability_of_answers(columns["scores"], columns["labels"])
    sure = columns["scores"].max(-1)
    return scores.reliability(sure, columns["label"] == columns["prediction"])


def _draw_reliability(axes: "Axes", answers: Answers) -> None:
    bins = _find_bins(answers)
    used, width = bins.num > 0, 1 / len(bins.num)
    middles = (np.arange(len(bins.num)) + 0.5) * width
    part = bins.num / bins.num.sum()
    axes.bar(middles, part, width * 0.9, color=style.GRID, label="part of predictions")
    axes.plot([0, 1], [0, 1], color=style.LINE, linewidth=1.0, linestyle=(0, (4, 3)))
    look: Any = {"color": style.ORANGE, "marker": "o", "markersize": 4.5}
    axes.plot(bins.confidence[used], bins.accuracy[used], label="accuracy", **look)
    error = float(scores.calibration_error(bins))
    style.dress(axes, x_label="confidence", y_label=f"accuracy (ECE {error:.3f})")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.03)
    style.add_legend(axes, loc="upper left")


def name_left_out(answers: Answers) -> str:
    """Returns a sentence of a caption: which classes a confusion matrix leaves out."""
    num = len(names_of(answers))
    if num <= MAX_CELLS:
        return ""
    return (
        f" Shown are the {MAX_CELLS} most frequent of {num} classes; parts are of "
        "whole rows, so they may add up to less than 1."
    )


def name_renamed(answers: Answers) -> str:
    """Returns which classes have a number in figures, as the font lacks their signs."""
    names = names_of(answers)
    parts = [
        f"class {place + 1} is {name}"
        for place, name in enumerate(names)
        if not _is_drawn(name)
    ]
    return f" {', '.join(parts)}." if parts else ""


@functools.cache
def _signs() -> frozenset[int]:
    """Returns the signs that the font of figures has."""
    from matplotlib import font_manager

    found = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return frozenset(found.get_charmap())


def _is_drawn(name: str) -> bool:
    return name.isprintable() and _signs().issuperset(map(ord, name))


def _short(name: str, place: int) -> str:
    """Returns a name that the figure's font can draw, and that has room."""
    if not _is_drawn(name):
        return f"class {place + 1}"
    name = name.replace("$", r"\$")
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}..."
