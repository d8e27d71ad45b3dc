"""How many layers stand between a weight and the heads: what learning rates fall by."""

from collections.abc import Sequence

import numpy as np

from slimjax.models.paths import Path, layer_of
from slimjax.models.runs import numbers_of
from slimjax.models.tower_config import TowerConfig

END = "norm"
"""Name of the norm behind the last layer of a tower."""


def distance_to_heads(
    towers: Sequence[TowerConfig], head_modules: Sequence[str], path: Path
) -> np.ndarray:
    """Returns the distance of a weight from the heads, in layers.

    Heads and the norm before them are at 0, the last layer of a tower at 1, its first
    one at L, and what embeds its inputs at L + 1. Each tower counts for itself. A layer
    keeps its number for the whole run, also when a seam removes all of it or others, so
    that no weight changes its rate at a seam.

    Args:
        towers: The towers.
        head_modules: Names of the modules of heads.
        path: The weight, or one of a run that is stacked.

    Returns:
        A number, or one for each layer of a stacked run.
    """
    depths = {tower.name: len(tower.layers) for tower in towers}
    stacked = numbers_of(path)
    if stacked is not None:
        tower, numbers = stacked
        return depths[tower] - np.array(numbers)
    place = layer_of(path)
    if place.number is not None:
        return np.array(depths[place.tower] - place.number)
    inside = path[1:] if path[0] in depths else path
    if path[0] in head_modules or inside[0] == END:
        return np.array(0)
    return np.array(depths[path[0] if path[0] in depths else ""] + 1)
