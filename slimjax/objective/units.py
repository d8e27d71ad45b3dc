"""What can go: the units of a model, in the order in which they would.

A *family* is a list of steps, weakest first; one step closes one or more units
together. Most families are the units of one gate. Query heads go one from each group,
so that groups stay equal; hidden units go in blocks, where hardware asks for them;
and when all layers must stay alike, one step takes a unit from each.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from slimjax.nn.gates import CHANNELS, NESTED, SUBLAYER
from slimjax.objective.size import Inventory
from slimjax.trees import Path

Gates = dict[Path, np.ndarray]
"""Gates by path, NumPy, 1 for open and 0 for closed."""

Costs = Mapping[Path, np.ndarray]
"""Nats a target that closing each unit costs, by gate; nan where nobody knows."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What must stay.

    Attributes:
        multiple: MLP widths stay multiples of this.
        uniform: All layers keep the same shape, and none goes.
        min_kv_heads: Least KV heads a layer; 0 lets attention go as a whole.
        min_mlp_dim: Least MLP width; 0 lets the MLP go as a whole.
        max_fraction: The part of a family's open units that may go at once.
    """

    multiple: int = 1
    uniform: bool = False
    min_kv_heads: int = 0
    min_mlp_dim: int = 0
    max_fraction: float = 1.0

    def minima(self) -> dict[str, int]:
        """Returns the least number of open units by axis name."""
        floor = int(self.uniform)
        return {
            "kv_heads": max(self.min_kv_heads, floor),
            "mlp": max(self.min_mlp_dim, floor * self.multiple),
        }


@dataclasses.dataclass(frozen=True)
class Family:
    """Units that go one step at a time.

    Attributes:
        axis: Name of their axis.
        modules: The modules they stand in.
        steps: For each step, the gates it closes: (path, indices) pairs.
        costs: Nats that each step costs, never falling.
    """

    axis: str
    modules: tuple[Path, ...]
    steps: tuple[tuple[tuple[Path, np.ndarray], ...], ...]
    costs: np.ndarray

    def close(self, gates: Gates, num_steps: int) -> None:
        """Closes the units of the first `num_steps` steps, in place."""
        for step in self.steps[:num_steps]:
            for path, indices in step:
                gates[path][indices] = 0.0


@dataclasses.dataclass(frozen=True)
class Sublayer:
    """A module that can go as a whole, with the families inside it."""

    path: Path
    cost: float
    families: tuple[int, ...]


def list_units(
    inventory: Inventory, costs: Costs, limits: Limits
) -> tuple[list[Family], list[Sublayer]]:
    """Returns the families, groups before the heads in them, and the sublayers."""
    orders = {
        path: _order_units(path, inventory, costs[path], limits)
        for path in inventory.gates
        if path[-1] not in (SUBLAYER, CHANNELS)
    }
    paths = sorted(orders, key=lambda path: (path[-1] in NESTED, path))
    bundles = _bundle_alike(paths) if limits.uniform else [(path,) for path in paths]
    families = [_make_family(bundle, orders, costs) for bundle in bundles]
    sublayers = [] if limits.uniform else _list_sublayers(families, inventory, costs)
    minima = limits.minima()
    return families, [s for s in sublayers if _may_go(s, families, minima)]


def _order_units(
    path: Path, inventory: Inventory, costs: np.ndarray, limits: Limits
) -> list[np.ndarray]:
    """Returns the units of a gate in steps, weakest first, as far as they may go."""
    (num_units,), axis = inventory.gates[path], path[-1]
    groups = 1
    if axis in NESTED:
        groups = inventory.gates[(*path[:-1], NESTED[axis])][0]
    by_group = np.argsort(costs.reshape(groups, -1), axis=1, kind="stable")
    offsets = np.arange(groups)[:, None] * (num_units // groups)
    ranks = list((by_group + offsets).T)  # ranks[r] holds one unit of each group.

    block = limits.multiple if axis == "mlp" else 1
    least = max(limits.minima().get(axis, 0), block)
    least = -(-least // block) * block  # Kept widths are whole blocks.
    may_go = max(0, len(ranks) - least)
    at_once = int(limits.max_fraction * len(ranks))
    odd = len(ranks) % block  # A width that is no multiple loses the rest first.
    sizes = ([odd] if odd else []) + [block] * ((may_go - odd) // block)
    steps, start = [], 0
    for size in sizes:
        if start + size > min(may_go, at_once):
            break
        steps.append(np.sort(np.concatenate(ranks[start : start + size])))
        start += size
    return steps


def _bundle_alike(paths: list[Path]) -> list[tuple[Path, ...]]:
    """Returns the gates that stand at the same place of each layer, together."""
    places = sorted({path[1:] for path in paths}, key=lambda p: (p[-1] in NESTED, p))
    return [tuple(p for p in paths if p[1:] == place) for place in places]


def _make_family(
    bundle: tuple[Path, ...], orders: Mapping[Path, list[np.ndarray]], costs: Costs
) -> Family:
    """Returns the family whose step k takes step k of every gate in the bundle."""
    num_steps = min(len(orders[path]) for path in bundle)
    steps = tuple(
        tuple((path, orders[path][k]) for path in bundle) for k in range(num_steps)
    )
    sums = [sum(costs[path][units].sum() for path, units in step) for step in steps]
    return Family(
        axis=bundle[0][-1],
        modules=tuple(path[:-1] for path in bundle),
        steps=steps,
        costs=np.maximum.accumulate(np.maximum(sums, 0.0)),
    )


def _list_sublayers(
    families: list[Family], inventory: Inventory, costs: Costs
) -> list[Sublayer]:
    """Returns the sublayers; where their cost is unknown, it is their units' sum."""
    sublayers = []
    for path in inventory.gates:
        if path[-1] != SUBLAYER:
            continue
        inside = tuple(i for i, f in enumerate(families) if f.modules == (path[:-1],))
        cost = float(costs[path])
        if np.isnan(cost):
            cost = sum(
                costs[p].sum()
                for p in inventory.gates
                if p[:-1] == path[:-1] and p != path and p[-1] not in NESTED
            )
        sublayers.append(Sublayer(path, max(float(cost), 0.0), inside))
    return sublayers


def _may_go(
    sublayer: Sublayer, families: list[Family], minima: Mapping[str, int]
) -> bool:
    return not any(minima.get(families[i].axis, 0) for i in sublayer.families)
