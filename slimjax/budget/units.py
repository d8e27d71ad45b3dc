"""What can be removed: the units of a model, in the order in which they would be.

A *family* is a list of steps, weakest first; one step closes one or more units
together. Most families are the units of one gate. Query heads are removed one from each
group, so that groups stay equal; hidden units in blocks, where hardware asks for them;
and when all layers of a tower must stay alike, one step takes a unit from each. The
channels of each residual stream are a family of their own, since all others weigh less
when it is narrower, and so are the filters of each stage of a convolution, which those
of the next stage read. Sublayers can be removed as a whole, and so can layers.
"""

import collections
import dataclasses
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from slimjax.budget.limits import LAYER, Limits
from slimjax.models.paths import layer_module, layer_of
from slimjax.nn.gates import NESTED, SUBLAYER, is_shared
from slimjax.objective.inventory import Inventory
from slimjax.trees import Path

Gates = dict[Path, np.ndarray]
"""Gates by path, NumPy, 1 for open and 0 for closed."""

Costs = Mapping[Path, np.ndarray]
"""Nats a target that closing each unit costs, by gate; nan where it is unknown.

The cost of a layer stands at its module and ``layer``, and may be left out."""


@dataclasses.dataclass(frozen=True)
class Family:
    """Units that are removed one step at a time.

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

    @cached_property
    def members(self) -> dict[Path, tuple[np.ndarray, np.ndarray]]:
        """The units that steps close, by gate: numbers of the steps, of the units."""
        found = {}
        for path, _ in self.steps[0] if self.steps else ():
            parts = [dict(step)[path] for step in self.steps]
            numbers = np.repeat(np.arange(len(parts)), [len(units) for units in parts])
            found[path] = numbers, np.concatenate(parts)
        return found

    def count_closed(self, gates: Gates) -> int:
        """Returns the number of steps that are closed, the first of them all."""
        if not self.steps:
            return 0
        path, (numbers, _) = next(iter(self.members.items()))
        num_closed = int(np.sum(gates[path] == 0))
        return (
            len(self.steps) if num_closed >= len(numbers) else int(numbers[num_closed])
        )

    def close(self, gates: Gates, num_steps: int) -> None:
        """Closes the units of the first `num_steps` steps, in place."""
        for step in self.steps[:num_steps]:
            for path, indices in step:
                gates[path][indices] = 0.0


@dataclasses.dataclass(frozen=True)
class Sublayer:
    """A module that can be removed as a whole, with the families inside it.

    Attributes:
        path: Its gate.
        cost: Nats that its removal costs.
        families: Those inside it, by their number.
        is_removable: Whether it may be removed while others of its layer stay.
    """

    path: Path
    cost: float
    families: tuple[int, ...]
    is_removable: bool = True


@dataclasses.dataclass(frozen=True)
class Layer:
    """Sublayers of one layer, or one that stands outside of layers.

    Attributes:
        sublayers: Those in it, by their number.
        cost: Nats that removing all of them together costs.
        is_removable: Whether all of them may be removed; if not, one of them stays.
        tower: The tower whose layer it is; None for a sublayer outside of layers, which
            may be removed by itself and is not counted among layers.
    """

    sublayers: tuple[int, ...]
    cost: float
    is_removable: bool
    tower: str | None = ""


@dataclasses.dataclass(frozen=True)
class Units:
    """All that can be removed.

    Attributes:
        channels: Those of each residual stream, and the filters of each stage.
        families: All others, groups before the heads in them.
        sublayers: The modules that families stand in.
        layers: The layers that sublayers stand in.
    """

    channels: tuple[Family, ...]
    families: list[Family]
    sublayers: list[Sublayer]
    layers: list[Layer]


def list_units(inventory: Inventory, costs: Costs, limits: Limits) -> Units:
    """Returns the units of a model, with what their removal costs."""
    free = [
        path for path in inventory.gates if _may_go_by_steps(path, inventory, limits)
    ]
    orders = {p: _order_units(p, inventory, costs[p], limits) for p in free}
    paths = sorted(orders, key=lambda path: (path[-1] in NESTED, path))
    inner = [path for path in paths if not is_shared(path[-1])]
    bundles = (
        _bundle_alike(inner, inventory) if limits.uniform else [(p,) for p in inner]
    )
    families = [_make_family(bundle, orders, costs) for bundle in bundles]
    sublayers = (
        [] if limits.uniform else _list_sublayers(families, inventory, costs, limits)
    )
    layers = _list_layers(sublayers, inventory, costs, limits)
    channels = (_make_family((p,), orders, costs) for p in paths if is_shared(p[-1]))
    return Units(tuple(channels), families, sublayers, layers)


def _may_go_by_steps(path: Path, inventory: Inventory, limits: Limits) -> bool:
    """Whether units of a gate may be removed one by one, with all that is in them."""
    inside = [axis for axis, group in NESTED.items() if group == path[-1]]
    members = [(*path[:-1], axis) for axis in inside]
    inner = [member for member in members if member in inventory.gates]
    return limits.may_close_units(path) and not any(
        limits.is_frozen(p) for p in (path, *inner)
    )


def _order_units(
    path: Path, inventory: Inventory, costs: np.ndarray, limits: Limits
) -> list[np.ndarray]:
    """Returns the units of a gate in steps, weakest first, as far as limits allow."""
    (num_units,), axis = inventory.gates[path], path[-1]
    groups = 1
    if axis in NESTED:
        groups = inventory.gates[(*path[:-1], NESTED[axis])][0]
    by_group = np.argsort(costs.reshape(groups, -1), axis=1, kind="stable")
    offsets = np.arange(groups)[:, None] * (num_units // groups)
    ranks = list((by_group + offsets).T)  # ranks[r] holds one unit of each group.

    block = limits.block(axis)
    least = max(limits.least(axis), block)
    least = -(-least // block) * block  # Kept widths are whole blocks.
    most = max(0, len(ranks) - least)
    at_once = int(limits.max_fraction * len(ranks))
    odd = len(ranks) % block  # A width that is no multiple loses the rest first.
    sizes = ([odd] if odd else []) + [block] * ((most - odd) // block)
    steps, start = [], 0
    for size in sizes:
        if start + size > min(most, at_once):
            break
        steps.append(np.sort(np.concatenate(ranks[start : start + size])))
        start += size
    return steps


def _bundle_alike(paths: list[Path], inventory: Inventory) -> list[tuple[Path, ...]]:
    """Returns together the gates that stand at the same place of a tower's layers.

    Where one of them must stay, all do. What stands outside of layers is by itself.
    """

    def place_of(path: Path) -> tuple[bool, bool, str, Path]:
        tower, number, rest = layer_of(path)
        return path[-1] in NESTED, number is None, tower, rest

    bundles: dict[tuple, list[Path]] = {}
    for path in paths:
        bundles.setdefault(place_of(path), []).append(path)
    counts = collections.Counter(map(place_of, inventory.gates))
    whole = (place for place in sorted(bundles) if len(bundles[place]) == counts[place])
    return [tuple(bundles[place]) for place in whole]


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
    families: list[Family], inventory: Inventory, costs: Costs, limits: Limits
) -> list[Sublayer]:
    """Returns the sublayers; where their cost is unknown, it is their units' sum."""
    sublayers = []
    for path in inventory.gates:
        if path[-1] != SUBLAYER:
            continue
        inside = tuple(i for i, f in enumerate(families) if f.modules == (path[:-1],))
        cost = float(costs.get(path, np.nan))
        if np.isnan(cost):
            cost = sum(
                costs[p].sum()
                for p in inventory.gates
                if p[:-1] == path[:-1] and p != path and p[-1] not in NESTED
            )
        is_removable = SUBLAYER in limits.units and _may_go_whole(
            path[:-1], inventory, limits
        )
        sublayers.append(Sublayer(path, max(float(cost), 0.0), inside, is_removable))
    return sublayers


def _list_layers(
    sublayers: list[Sublayer], inventory: Inventory, costs: Costs, limits: Limits
) -> list[Layer]:
    """Returns the layers; where their cost is unknown, it is their sublayers' sum."""
    layers, modules = [], [layer_module(sublayer.path) for sublayer in sublayers]
    for module in sorted({module for module in modules if module is not None}):
        inside = [i for i, own in enumerate(modules) if own == module]
        cost = float(costs.get((*module, LAYER), np.nan))
        if np.isnan(cost):
            cost = sum(sublayers[i].cost for i in inside)
        if np.inf in (sublayers[i].cost for i in inside):  # It must stay this time.
            cost = np.inf
        is_removable = LAYER in limits.units and _may_go_whole(
            module, inventory, limits
        )
        tower = layer_of(module).tower
        layers.append(Layer(tuple(inside), max(cost, 0.0), is_removable, tower))
    alone = [i for i, module in enumerate(modules) if module is None]
    return layers + [Layer((i,), sublayers[i].cost, False, None) for i in alone]


def _may_go_whole(module: Path, inventory: Inventory, limits: Limits) -> bool:
    """Whether nothing in a module must stay."""
    inside = [path for path in inventory.gates if path[: len(module)] == module]
    return not any(limits.least(p[-1]) or limits.is_frozen(p) for p in inside)
