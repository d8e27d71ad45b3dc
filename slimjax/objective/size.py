"""Size: one walk over named axes, for every measure, differentiable in the gates.

A leaf (a weight) counts, for each of its axes, the sum of the axis's gates, or the
axis's length where nothing governs it; and all of that times the gates of the modules
it stands in. With gates of 0 and 1 this is exact: the size of the model that is left.

The same code runs on NumPy gates (float64, decisions at a seam) and on JAX gates
(inside a train step).
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import PyTree

from slimjax.errors import ConfigError, suggest
from slimjax.nn.gates import CHANNELS, NESTED, SUBLAYER, axis_gates
from slimjax.nn.packing import make_table
from slimjax.nn.quantize import FULL, bit_axis, bit_key, uniform_precision
from slimjax.trees import AxisNames, Path, axis_names, flatten, unflatten

MEASURES = ("params", "flops", "bytes", "kv_bytes")
SizeFn = Callable[..., Any]
"""Gates (nested dict, of NumPy or JAX arrays), maybe bits -> size, a scalar."""

Bits = Mapping[Path, np.ndarray]
"""Bits of the units of each bit key (see `slimjax.nn.quantize`)."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A weight as size sees it: a path, a shape, the names of its axes."""

    path: Path
    shape: tuple[int, ...]
    axes: AxisNames


@dataclasses.dataclass(frozen=True)
class Inventory:
    """All that a model's size is counted over.

    Attributes:
        leaves: The weights.
        gates: Shape of each gate, by path.
        seq_len: Positions a sequence, T, which attention's FLOPs depend on.
    """

    leaves: tuple[Leaf, ...]
    gates: Mapping[Path, tuple[int, ...]]
    seq_len: int

    def open_gates(self) -> dict[Path, np.ndarray]:
        """Returns gates of 1, float64, by path."""
        return {path: np.ones(shape) for path, shape in self.gates.items()}


def take_inventory(variables: PyTree, seq_len: int) -> Inventory:
    """Lists what is to be counted.

    Args:
        variables: Boxed shapes ``{"params": ..., "gates": ...}``, as `jax.eval_shape`
            of a module's ``init`` returns them.
        seq_len: Positions a sequence, T.
    """
    names = flatten(axis_names(variables["params"]))
    shapes = {
        p: v.shape for p, v in flatten(nn.meta.unbox(variables["params"])).items()
    }
    gates = flatten(nn.meta.unbox(variables.get("gates", {})))
    return Inventory(
        leaves=tuple(Leaf(path, shapes[path], names[path]) for path in sorted(shapes)),
        gates={path: gate.shape for path, gate in gates.items()},
        seq_len=seq_len,
    )


def make_size_fn(measure: str, inventory: Inventory, group_size: int = 0) -> SizeFn:
    """Returns the function from gates to size in one measure.

    ``params``: elements of the weights. ``flops``: forward FLOPs of matrix products a
    token, causal attention counted at half its square. ``bytes``: the packed model
    file, header included; its function takes the `Bits` of units as a second argument,
    16 everywhere if there is none. ``kv_bytes``: bfloat16 bytes of the cache a token.

    Args:
        measure: Its name.
        inventory: What is counted.
        group_size: Elements that share a step between levels; 0 for a whole row.

    Raises:
        ConfigError: If the measure is unknown.
    """
    if measure not in MEASURES:
        raise ConfigError(
            f"config.objective.size={measure!r} is unknown. "
            f"{suggest(measure, MEASURES)}"
        )
    if measure == "bytes":
        return _make_bytes_fn(inventory, group_size)
    leaf_size = {
        "params": lambda count, leaf: count(leaf.axes),
        "flops": lambda count, leaf: _leaf_flops(count, leaf, inventory),
        "kv_bytes": lambda count, leaf: _leaf_kv_bytes(count, leaf),
    }[measure]

    def size_fn(gates: PyTree, bits: Bits | None = None) -> Any:
        del bits  # They change nothing but bytes.
        flat, total = gates if _is_flat(gates) else flatten(gates), 0
        for leaf in inventory.leaves:
            total = total + leaf_size(partial(_count, leaf, flat), leaf)
        return total

    return size_fn


def _make_bytes_fn(inventory: Inventory, group_size: int) -> SizeFn:
    header = _file_header_bytes(inventory, group_size)

    def size_fn(gates: PyTree, bits: Bits | None = None) -> Any:
        flat = gates if _is_flat(gates) else flatten(gates)
        total = header + (_states_bytes(flat, bits) if bits else 0)
        for leaf in inventory.leaves:
            total = total + _leaf_bytes(leaf, flat, bits, group_size)
        return total

    return size_fn


def _is_flat(gates: Mapping) -> bool:
    return all(isinstance(key, tuple) for key in gates)


def _count(leaf: Leaf, gates: Mapping[Path, Any], axes: AxisNames) -> Any:
    """Returns the elements along `axes` of a leaf that its gates leave open."""
    count = 1
    for name, length in zip(leaf.axes, leaf.shape, strict=True):
        if name in axes:
            units = axis_gates(leaf.path, name, length, gates)
            count = count * (length if units is None else units.sum())
    for depth in range(len(leaf.path)):
        whole = gates.get((*leaf.path[:depth], SUBLAYER))
        count = count if whole is None else count * whole
    return count


def _leaf_flops(count: Callable, leaf: Leaf, inventory: Inventory) -> Any:
    """Returns 2 FLOPs an element of a matrix, and attention's own at the queries.

    Each of a query's elements meets, on average, T / 2 keys and T / 2 values.
    A table of tokens that is only looked up multiplies nothing.
    """
    if len(leaf.axes) < 2:
        return 0
    scores_tokens = leaf.axes[0] != "vocab" or not any(
        other.axes[-1] == "vocab" for other in inventory.leaves
    )
    flops = 2 * count(leaf.axes) if scores_tokens else 0
    if leaf.axes[-2:] == ("heads", "head_dim"):
        flops = flops + 2 * inventory.seq_len * count(leaf.axes[-2:])
    return flops


def _leaf_kv_bytes(count: Callable, leaf: Leaf) -> Any:
    """Returns the cache that a weight of keys or values fills, 2 bytes an element."""
    is_kv = leaf.axes[-2:] == ("kv_heads", "head_dim")
    return 2 * count(leaf.axes[-2:]) if is_kv else 0


def _leaf_bytes(
    leaf: Leaf, gates: Mapping[Path, Any], bits: Bits | None, group_size: int
) -> Any:
    """Returns a weight's bytes in the packed file: codes, and steps below 16 bits."""
    axis = bit_axis(leaf.axes)
    row = _count(leaf, gates, tuple(a for i, a in enumerate(leaf.axes) if i != axis))
    whole = _count(leaf, gates, ())
    if bits is None:
        return FULL // 8 * _count(leaf, gates, leaf.axes)
    own, units = np.asarray(bits[bit_key(leaf.path, leaf.axes)]), None
    if axis is not None:
        units = axis_gates(leaf.path, leaf.axes[axis], leaf.shape[axis], gates)
    groups = -(-row // group_size) if group_size else whole
    row_bits = row * own + (own < FULL) * FULL * groups
    row_bits = row_bits if units is None else units * row_bits
    num_ends = len(np.unique(own[own < FULL]))  # Each state begins with a new byte.
    return row_bits.sum() / 8 + num_ends * whole


def _states_bytes(gates: Mapping[Path, Any], bits: Bits) -> float:
    """Returns the bytes that tell the bits of units which are not all alike."""
    total = 0.0
    for key, own in bits.items():
        if len(np.unique(own)) > 1:
            units = axis_gates(key, key[-1], len(own), gates)
            total += STATE_BITS / 8 * (len(own) if units is None else units.sum())
    return total


def uniform_bits(inventory: Inventory, bits: int) -> Bits:
    """Returns the same bits for every unit, or its least."""
    return flatten(uniform_precision(*_trees(inventory), bits)["bits"])


def _trees(inventory: Inventory) -> tuple[PyTree, PyTree]:
    """Returns shapes of the weights and names of their axes, as nested dicts."""
    shapes = {leaf.path: np.broadcast_to(0, leaf.shape) for leaf in inventory.leaves}
    names = {leaf.path: leaf.axes for leaf in inventory.leaves}
    return unflatten(shapes), unflatten(names)


def _file_header_bytes(inventory: Inventory, group_size: int) -> int:
    """Returns the bytes of a packed file's header and table, give or take ten."""
    weights, names = _trees(inventory)
    table = make_table(weights, names, uniform_precision(weights, names, 8), group_size)
    return HEADER_BYTES + len(table)


HEADER_BYTES = 328
"""Length field, names and offsets of a packed file, as long as they may get."""

STATE_BITS = 3
"""Bits that tell which of its states a unit is in."""


def unit_sizes(size_fn: SizeFn, inventory: Inventory) -> dict[Path, float]:
    """Returns what one unit of each gate weighs when all others are open.

    Size is linear in each gate and the units of a gate are alike, so that closing
    the first one tells for all.
    """
    gates = inventory.open_gates()
    whole = float(size_fn(gates))
    sizes = {}
    for path, shape in inventory.gates.items():
        closed = np.ones(shape)
        closed.reshape(-1)[0] = 0.0
        sizes[path] = whole - float(size_fn(gates | {path: closed}))
    return sizes


def smallest_gates(inventory: Inventory, minima: Mapping[str, int]) -> dict:
    """Returns the gates of the smallest model that the minima allow.

    Args:
        inventory: What there is.
        minima: Least number of open units by axis name; a module whose axes all have
            a least number of 0 goes as a whole.
    """
    gates = inventory.open_gates()
    for path, gate in gates.items():
        module, axis = path[:-1], path[-1]
        if axis == CHANNELS:
            continue
        inner = [p[-1] for p in gates if p[:-1] == module and p[-1] != SUBLAYER]
        if axis == SUBLAYER:
            gate[...] = float(any(minima.get(name, 0) for name in inner))
        elif axis in NESTED:
            groups = gates[(*module, NESTED[axis])].shape[0]
            gate.reshape(groups, -1)[:, 1:] = 0.0
        else:
            gate[max(1, minima.get(axis, 0)) :] = 0.0
    return gates
