"""What each weight of a model does for one target: which positions it multiplies.

Targets are the positions that heads read: all of a row, or one where a head pools.
"""

from collections.abc import Mapping

from slimjax.models.head import HeadConfig
from slimjax.models.paths import Path, layer_of
from slimjax.models.tower_config import TowerConfig
from slimjax.models.use import Use, UseFn

READING = ("query", "out", "gate", "up", "down")
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
    num_targets = targets_per_row(towers, heads, lengths)
    rates = {
        name: tower.length(lengths) / num_targets for name, tower in towers.items()
    }

    def use_of(path: Path, axes: tuple[str, ...]) -> Use:
        if len(axes) < 2 or axes[0] in ("bias", "scale"):
            return Use()
        place = layer_of(path)
        if place.number is not None:
            return in_layer(towers[place.tower], place.rest)
        if path[-1] == "embedding":
            return Use(sum(head_rate(head) for head in heads if is_tied(head, path)))
        found = [head for head in heads if path[0] == head.module]
        if found and "copy" in path:
            return in_copying(found[0], path[-1])
        if found:
            return Use(head_rate(found[0]))
        name = "" if len(path) < 3 else path[0]
        return Use(rates[name] if axes[0] == "features" else 0.0)

    def head_rate(head: HeadConfig) -> float:
        return _positions(head, towers, lengths) / num_targets

    def is_tied(head: HeadConfig, path: Path) -> bool:
        owner = towers[head.tower].table_of
        owner = head.tower if owner is None else owner
        return head.table == "tied" and path[:-2] == tuple(filter(None, (owner,)))

    def in_copying(head: HeadConfig, name: str) -> Use:
        tower = towers[head.tower]
        source = towers[tower.memory or ""]
        own, keys = tower.length(lengths), source.length(lengths)
        if name == "key":
            return Use(rates[source.name], kept=keys / own)
        # Scores alone, and no mixed values: half of what attention costs.
        return Use(head_rate(head), keys / 2 if name == "query" else 0.0)

    def in_layer(tower: TowerConfig, rest: Path) -> Use:
        is_cross, name, rate = rest[0] == "cross", rest[-1], rates[tower.name]
        source = towers[tower.memory or ""] if is_cross else tower
        own, keys = tower.length(lengths), source.length(lengths)
        if name in ("key", "value"):
            kept = keys / own if is_cross else min(tower.window or own, own) / own
            return Use(rates[source.name], kept=0.0 if tower.sees_all else kept)
        if name == "query":
            return Use(rate, keys if is_cross else tower.num_keys(own))
        return Use(rate if name in READING else 0.0)

    return use_of


def _positions(
    head: HeadConfig, towers: Mapping[str, TowerConfig], lengths: Mapping[str, int]
) -> int:
    return towers[head.tower].length(lengths) if head.at == "each" else 1
