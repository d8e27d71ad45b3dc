"""Draws what is lost against parameters and against bits."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
from goals import CALIBRATION, FEWER, TEXT, part

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

Result = dict
Lines = dict[tuple[str, bool], dict[float, float]]
"""Ratios by what they stand over, by arm and by whether weights are refitted."""


def draw(results: list[Result], words: Mapping[str, str], path: Path) -> None:
    """Draws both panels, from the results that there are.

    Args:
        results: All results.
        words: What arms are called.
        path: The file.
    """
    figure, panels = plt.subplots(1, 2, figsize=(11, 5), constrained_layout=True)
    removed = lambda result: 100 - float(result["budget"].strip("%"))
    refitted = [own for own in part(results, "structure") if own["refit"]]
    left = gather(refitted, removed, FEWER)
    draw_lines(panels[0], left, words, "parameters removed, %")
    right = gather(part(results, "bits"), lambda own: own["bits"], CALIBRATION)
    draw_lines(panels[1], right, words, "mean bits of a weight")
    panels[0].set_ylabel(f"perplexity of {TEXT}, multiples of the original's")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def gather(
    results: list[Result], over: Callable[[Result], float], calibration: str
) -> Lines:
    """Returns the lines of results with one calibration."""
    found: Lines = {}
    for result in results:
        if result["calibration"] == calibration:
            key = result["arm"], result.get("refit", True)
            ratio = result["errors"][TEXT]["ratio"]
            found.setdefault(key, {})[over(result)] = ratio
    return found


def draw_lines(
    axes: Any, lines: Lines, words: Mapping[str, str], quantity: str
) -> None:
    """Draws a line for each arm; ours are thick, those without a refit dotted."""
    for arm, refit in sorted(lines, key=lambda key: (list(words).index(key[0]), key)):
        points = sorted(lines[arm, refit].items())
        axes.plot(
            *zip(*points, strict=True),
            marker="o",
            label=f"{words[arm]}{'' if refit else ', no refit'}",
            linewidth=2.5 if arm.startswith("ours") else 1.2,
            linestyle="-" if refit else ":",
        )
    axes.set_xlabel(quantity)
    axes.set_yscale("log")
    plain, (low, high) = FuncFormatter(lambda value, _: f"{value:g}"), axes.get_ylim()
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain if high < 10 * low else NullFormatter())
    axes.grid(alpha=0.3)
    if lines:
        axes.legend(frameon=False, fontsize=7)
