"""What towers read: positions and segments, those of other towers' streams too."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int

from slimjax.models.tower_config import TowerConfig

Towers = Mapping[str, TowerConfig]
"""All towers of a model by name."""

Inputs = Mapping[str, Any]
"""Arrays by the names that towers read."""


def count_positions(
    tower: TowerConfig, towers: Towers, lengths: Mapping[str, int]
) -> int:
    """Returns the positions of a row of a tower.

    Args:
        tower: The tower.
        towers: All towers.
        lengths: Positions of a row, by tower or by what it reads.
    """
    if tower.of:
        return sum(count_positions(towers[name], towers, lengths) for name in tower.of)
    return tower.length(lengths)


def count_here(name: str, towers: Towers, inputs: Inputs) -> int:
    """Returns the positions that a tower has for these inputs."""
    tower = towers[name]
    if tower.of:
        return sum(count_here(own, towers, inputs) for own in tower.of)
    if tower.picture is not None:
        return tower.picture.num_positions
    return inputs[tower.reads].shape[1]


def join_segments(
    name: str, towers: Towers, inputs: Inputs
) -> Int[Array, "B T"] | None:
    """Returns which positions of a tower belong together, 0 for padding; None for all.

    A tower that reads streams of others has their segments, one after the other.
    """
    tower = towers[name]
    if not tower.of:
        segments = inputs.get(f"{tower.reads}_segments")
        return None if segments is None else jnp.asarray(segments)
    found = [join_segments(own, towers, inputs) for own in tower.of]
    if all(own is None for own in found):
        return None
    num_rows = next(own.shape[0] for own in found if own is not None)
    return jnp.concatenate(
        [
            jnp.ones((num_rows, count_here(part, towers, inputs)), jnp.int32)
            if own is None
            else own
            for part, own in zip(tower.of, found, strict=True)
        ],
        axis=1,
    )
