"""The weights of a unit: all entries, in all leaves, that stand at its index.

A gate ``mlp [F]`` of a module governs the axis ``mlp`` of every leaf there and below;
the group of unit u are the entries at index u of that axis. A KV group has those of
the query heads in it, too.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from slimjax.nn.axes import is_spread, to_host
from slimjax.nn.gates import NESTED, axis_gates
from slimjax.objective.inventory import Inventory, Leaf
from slimjax.trees import Path, flatten


def unit_sums(inventory: Inventory, entries: Mapping[Path, Any]) -> dict[Path, Any]:
    """Returns the sum of the entries of each unit, for each gate that has an axis.

    Args:
        inventory: What there is.
        entries: Arrays of the shapes of the weights, by path, NumPy or JAX; leaves
            that are not there count nothing.

    Examples:
        >>> import numpy as np
        >>> leaf = Leaf(("mlp", "down"), (2, 3), ("mlp", "embed"))
        >>> inventory = Inventory((leaf,), {("mlp", "mlp"): (2,)})
        >>> unit_sums(inventory, {("mlp", "down"): np.ones((2, 3))})
        {('mlp', 'mlp'): array([3., 3.])}
    """
    sums: dict[Path, Any] = {}
    for leaf in inventory.leaves:
        if leaf.path not in entries:
            continue
        for position, name in enumerate(leaf.axes):
            others = tuple(i for i in range(len(leaf.axes)) if i != position)
            for gate in _governors(leaf, name, inventory):
                units = entries[leaf.path].sum(others)
                units = units.reshape(inventory.gates[gate][0], -1).sum(1)
                sums[gate] = sums[gate] + units if gate in sums else units
    return sums


def host_sums(
    inventory: Inventory, fn: Callable[..., Any], *trees: PyTree
) -> dict[Path, np.ndarray]:
    """Returns `unit_sums` of a function of weights, and trees like them.

    Host arrays are summed in float64; arrays on a mesh there, in float32.
    """

    def sums(*flat: Mapping[Path, Any]) -> dict[Path, Any]:
        entries = {p: fn(*(leaves[p] for leaves in flat)) for p in flat[-1]}
        return unit_sums(inventory, entries)

    flat = [flatten(tree) for tree in trees]
    if is_spread(trees):
        return to_host(jax.jit(sums)(*flat))
    exact = lambda leaves: {p: np.asarray(x, np.float64) for p, x in leaves.items()}
    return sums(*map(exact, flat))


def scale_units(
    inventory: Inventory, weights: Mapping[Path, Any], factors: Mapping[Path, Any]
) -> dict[Path, Any]:
    """Returns the weights, each entry times the factors of the units it belongs to.

    Args:
        inventory: What there is.
        weights: All weights by path.
        factors: One number for each unit, by gate.
    """
    scaled = dict(weights)
    for leaf in inventory.leaves:
        for position, (name, length) in enumerate(
            zip(leaf.axes, leaf.shape, strict=True)
        ):
            units = axis_gates(leaf.path, name, length, factors)
            if units is not None:
                shape = [1] * len(leaf.shape)
                shape[position] = length
                scaled[leaf.path] = scaled[leaf.path] * units.reshape(shape)
    return scaled


def _governors(leaf: Leaf, axis: str, inventory: Inventory) -> list[Path]:
    """Returns the gates that govern an axis of a leaf: its own, and its groups'."""
    names = (axis, NESTED[axis]) if axis in NESTED else (axis,)
    labels = [{p: p for p in inventory.gates if p[-1] == name} for name in names]
    found = [
        axis_gates(leaf.path, name, 0, known)
        for name, known in zip(names, labels, strict=True)
    ]
    return [path for path in found if path is not None]
