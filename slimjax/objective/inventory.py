"""What a size is counted over: weights, the names of their axes, and their gates."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import numpy as np
from jaxtyping import PyTree

from slimjax.models.use import Use, UseFn
from slimjax.nn.gates import NESTED, SUBLAYER, nearest_gate, nest
from slimjax.nn.quantize import uniform_precision
from slimjax.trees import AxisNames, Path, axis_names, flatten, unflatten

if TYPE_CHECKING:
    from slimjax.objective.latency_table import LatencyTable

Bits = Mapping[Path, np.ndarray]
"""Bits of the units of each bit key (see `slimjax.nn.quantize`)."""

VOCAB = "vocab"
"""The axis of tokens, the rows of tables."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A weight as size sees it: a path, a shape, the names of its axes, its use."""

    path: Path
    shape: tuple[int, ...]
    axes: AxisNames
    use: Use = Use()  # noqa: RUF009


@dataclasses.dataclass(frozen=True)
class Inventory:
    """All that a model's size is counted over.

    Attributes:
        leaves: The weights.
        gates: Shape of each gate, by path.
        latency: What was measured, where latency counts.
    """

    leaves: tuple[Leaf, ...]
    gates: Mapping[Path, tuple[int, ...]]
    latency: "LatencyTable | None" = None

    def open_gates(self) -> dict[Path, np.ndarray]:
        """Returns gates of 1, float64, by path."""
        return {path: np.ones(shape) for path, shape in self.gates.items()}

    def with_row_gate(self) -> "Inventory":
        """Returns it with a gate of the vocabulary, which a model does not have.

        It stands at the root, since all tables of tokens have the same rows.
        """
        axes = ((y.axes, y.shape) for y in self.leaves if VOCAB in y.axes)
        sizes = {shape[names.index(VOCAB)] for names, shape in axes}
        (size,) = sizes
        return dataclasses.replace(self, gates={**self.gates, (VOCAB,): (size,)})


def take_inventory(variables: PyTree, use_of: UseFn) -> Inventory:
    """Lists what is to be counted.

    Args:
        variables: Boxed shapes ``{"params": ..., "gates": ...}``, as `jax.eval_shape`
            of a module's ``init`` returns them.
        use_of: The use of each weight, as `slimjax.models.ModelConfig.uses` gives it.
    """
    names = flatten(axis_names(variables["params"]))
    shapes = {
        p: v.shape for p, v in flatten(nn.meta.unbox(variables["params"])).items()
    }
    gates = flatten(nn.meta.unbox(variables.get("gates", {})))
    leaf = lambda path, axes: Leaf(path, shapes[path], axes, use_of(path, axes))
    return Inventory(
        leaves=tuple(leaf(path, names[path]) for path in sorted(shapes)),
        gates={path: gate.shape for path, gate in gates.items()},
    )


def uniform_bits(inventory: Inventory, bits: int) -> Bits:
    """Returns the same bits for every unit, or its least."""
    return flatten(uniform_precision(*weight_trees(inventory), bits)["bits"])


def weight_trees(inventory: Inventory) -> tuple[PyTree, PyTree]:
    """Returns shapes of the weights and names of their axes, as nested dicts."""
    shapes = {leaf.path: np.broadcast_to(0, leaf.shape) for leaf in inventory.leaves}
    names = {leaf.path: leaf.axes for leaf in inventory.leaves}
    return unflatten(shapes), unflatten(names)


@dataclasses.dataclass(frozen=True)
class Governors:
    """The gates of a leaf: of each axis, by name and length, and of whole modules."""

    axes: tuple[tuple[str, int, tuple[Path, ...]], ...]
    wholes: tuple[Path, ...]


def governors_of(leaf: Leaf, inventory: Inventory) -> Governors:
    """Returns the gates of each axis, its units' group last, and of the modules."""
    axes = []
    for name, length in zip(leaf.axes, leaf.shape, strict=True):
        names = (name, NESTED[name]) if name in NESTED else (name,)
        found = (nearest_gate(leaf.path, axis, inventory.gates) for axis in names)
        axes.append((name, length, tuple(path for path in found if path)))
    wholes = ((*leaf.path[:depth], SUBLAYER) for depth in range(len(leaf.path)))
    return Governors(tuple(axes), tuple(p for p in wholes if p in inventory.gates))


def count(
    governors: Governors, gates: Mapping[Path, Any], sums: dict, axes: AxisNames
) -> Any:
    """Returns the elements along `axes` of a leaf that its gates leave open.

    What the gates of an axis add up to is kept in `sums` for the rest of the walk.
    """
    number = 1
    for name, length, paths in governors.axes:
        if name not in axes:
            continue
        if (paths, length) not in sums:
            sums[paths, length] = _open_units(name, length, paths, gates)
        number = number * sums[paths, length]
    for path in governors.wholes:
        number = number * gates[path]
    return number


def _open_units(
    name: str, length: int, paths: tuple[Path, ...], gates: Mapping[Path, Any]
) -> Any:
    """Returns how many units of an axis its gates leave open."""
    found = {path[-1]: gates[path] for path in paths}
    own, group = found.get(name), found.get(NESTED.get(name, ""))
    if group is not None:
        return nest(own, group, length).sum()
    return length if own is None else own.sum()


def flat_gates(gates: PyTree) -> Mapping[Path, Any]:
    """Returns gates by path, be they so already or nested."""
    is_flat = all(isinstance(key, tuple) for key in gates)
    return gates if is_flat else flatten(gates)
