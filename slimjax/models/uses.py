"""What each weight of a model does for one target: which positions it multiplies.

Targets are the positions that heads read: all of a row, or one where a head pools.
"""

import dataclasses
from collections.abc import Mapping
from functools import cached_property

from slimjax.models.head import HeadConfig
from slimjax.models.paths import Path, layer_of
from slimjax.models.reading import count_positions
from slimjax.models.tower_config import TowerConfig
from slimjax.models.use import Use, UseFn
from slimjax.nn.implementations import PARTS, STATES
from slimjax.nn.pictures import Picture

READING = ("query", "out", "gate", "up", "down", "reading")
"""Weights that multiply each position of their own tower."""


def targets_per_row(
    towers: Mapping[str, TowerConfig],
    heads: tuple[HeadConfig, ...],
    lengths: Mapping[str, int],
) -> int:
    """Returns how many targets a row has at most, over all heads."""
    return max((_positions(head, towers, lengths) for head in heads), default=1)


def make_use_fn(
    towers: Mapping[str, TowerConfig],
    heads: tuple[HeadConfig, ...],
    lengths: Mapping[str, int],
) -> UseFn:
    """Returns the function from a weight's path and axes to its use.

    Args:
        towers: All towers by name.
        heads: All heads.
        lengths: Positions of a row, by tower or by what it reads.
    """
    return _Uses(towers, heads, lengths).use_of


@dataclasses.dataclass(frozen=True)
class _Uses:
    towers: Mapping[str, TowerConfig]
    heads: tuple[HeadConfig, ...]
    lengths: Mapping[str, int]

    @cached_property
    def num_targets(self) -> int:
        return targets_per_row(self.towers, self.heads, self.lengths)

    def rate(self, tower: TowerConfig) -> float:
        return self.length(tower) / self.num_targets

    def length(self, tower: TowerConfig) -> int:
        return count_positions(tower, self.towers, self.lengths)

    def head_rate(self, head: HeadConfig) -> float:
        return _positions(head, self.towers, self.lengths) / self.num_targets

    def use_of(self, path: Path, axes: tuple[str, ...]) -> Use:
        if len(axes) < 2 or axes[0] in ("bias", "scale"):
            return Use()
        place = layer_of(path)
        if place.number is not None:
            return self.in_layer(self.towers[place.tower], place.rest)
        if path[-1] == "embedding":
            tied = (self.head_rate(h) for h in self.heads if self.is_tied(h, path))
            return Use(sum(tied))
        found = [head for head in self.heads if path[0] == head.module]
        if found and "copying" in path:
            return self.in_copying(found[0], path[-1])
        if found:
            return Use(self.head_rate(found[0]))
        tower = self.towers["" if len(path) < 3 else path[0]]
        *_, module, name = ("", *path)
        if tower.picture is not None and module == tower.stem:
            return Use(self.places(tower.picture, name) / self.num_targets)
        if tower.of and module == tower.stem:
            return Use(self.rate(self.towers[name]))
        if "characters" in path:
            reads = path[-1:] == ("kernel",)
            return Use(self.rate(tower) * tower.token_bytes * reads)
        return Use(self.rate(tower) if axes[0] == "features" else 0.0)

    def places(self, picture: Picture, name: str) -> int:
        """Returns at how many places a weight that reads pictures is used."""
        number = name.removeprefix("kernel_")
        if not number.isdigit():
            return picture.num_positions
        height, width = picture.grids[int(number)]
        return height * width

    def is_tied(self, head: HeadConfig, path: Path) -> bool:
        owner = self.towers[head.tower].table_of
        owner = head.tower if owner is None else owner
        return head.table == "tied" and path[:-2] == tuple(filter(None, (owner,)))

    def in_copying(self, head: HeadConfig, name: str) -> Use:
        tower = self.towers[head.tower]
        source = self.towers[tower.memory or ""]
        own, keys = self.length(tower), self.length(source)
        if name == "key":
            return Use(self.rate(source), kept=keys / own)
        # Scores alone, and no mixed values: half of what attention costs.
        return Use(self.head_rate(head), keys / 2 if name == "query" else 0.0)

    def in_layer(self, tower: TowerConfig, rest: Path) -> Use:
        is_cross, name, rate = rest[0] == "cross", rest[-1], self.rate(tower)
        source = self.towers[tower.memory or ""] if is_cross else tower
        own, keys = self.length(tower), self.length(source)
        if name in ("key", "value"):
            kept = keys / own if is_cross else min(tower.window or own, own) / own
            return Use(self.rate(source), kept=0.0 if tower.sees_all else kept)
        if name == "carrying":  # A row keeps a state, whatever its length.
            kept = len(STATES[tower.style.cell]) / PARTS[tower.style.cell] / own
            return Use(rate, kept=0.0 if tower.sees_all else kept)
        if name == "query":
            return Use(rate, keys if is_cross else tower.num_keys(own))
        return Use(rate if name in READING else 0.0)


def _positions(
    head: HeadConfig, towers: Mapping[str, TowerConfig], lengths: Mapping[str, int]
) -> int:
    if head.at != "each":
        return 1
    return count_positions(towers[head.tower], towers, lengths)
