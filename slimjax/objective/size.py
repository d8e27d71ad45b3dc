"""Size: one walk over named axes, for every measure, differentiable in the gates.

A leaf (a weight) counts, for each of its axes, the sum of the axis's gates, or the
axis's length where nothing governs it; and all of that times the gates of the modules
it stands in. With gates of 0 and 1 this is exact: the size of the model that is left.

The same code runs on NumPy gates (float64, decisions at a seam) and on JAX gates
(inside a train step).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import PyTree

from slimjax.errors import ConfigError, suggest
from slimjax.nn.gates import CHANNELS, NESTED, SUBLAYER, axis_gates, nearest_gate, nest
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


def parse_measure(measure: str, where: str = "config.objective.size") -> dict:
    """Returns the weight of each measure in a weighted sum of measures.

    Raises:
        ConfigError: If the text, found at `where`, is no measure and no sum of them.

    Examples:
        >>> parse_measure("0.5*params + 0.5*flops"), parse_measure("bytes")
        ({'params': 0.5, 'flops': 0.5}, {'bytes': 1.0})
    """
    weights: dict[str, float] = {}
    for term in measure.split("+"):
        factor, _, name = term.rpartition("*")
        name = name.strip()
        if name not in MEASURES:
            raise ConfigError(
                f"{where}={measure!r}: {name!r} is unknown. {suggest(name, MEASURES)}"
            )
        try:
            weights[name] = weights.get(name, 0.0) + float(factor or 1)
        except ValueError:
            weights[name] = math.nan
    if not all(0 < weight < math.inf for weight in weights.values()):
        raise ConfigError(
            f"{where}={measure!r} must be one of {', '.join(MEASURES)}, or a sum with "
            "positive weights, such as '0.5*params+0.5*flops'."
        )
    return weights


def make_size_fn(
    measure: str,
    inventory: Inventory,
    group_size: int = 0,
    start: Mapping[str, float] | None = None,
) -> SizeFn:
    """Returns the function from gates to size in one measure, or a sum of measures.

    ``params``: elements of the weights. ``flops``: forward FLOPs of matrix products a
    token, causal attention counted at half its square. ``bytes``: the packed model
    file, header included; its function takes the `Bits` of units as a second argument,
    16 everywhere if there is none. ``kv_bytes``: bfloat16 bytes of the cache a token.
    In a weighted sum each measure is a part of its size at the start.

    Args:
        measure: A measure, or a sum as `parse_measure` reads it.
        inventory: What is counted.
        group_size: Elements that share a step between levels; 0 for a whole row.
        start: Sizes of the model that the run started from, by measure; None means
            that `inventory` is of that model, at 16 bits.

    Raises:
        ConfigError: If the measure is unknown.
    """
    weights = parse_measure(measure)
    if measure in MEASURES:
        return _make_plain_size_fn(measure, inventory, group_size)
    size_fns = {m: _make_plain_size_fn(m, inventory, group_size) for m in weights}
    gates = inventory.open_gates()
    whole = start or {name: float(fn(gates)) for name, fn in size_fns.items()}

    def mixed_size_fn(gates: PyTree, bits: Bits | None = None) -> Any:
        sizes = {name: fn(gates, bits) / whole[name] for name, fn in size_fns.items()}
        return sum(weight * sizes[name] for name, weight in weights.items())

    return mixed_size_fn


def _make_plain_size_fn(measure: str, inventory: Inventory, group_size: int) -> SizeFn:
    if measure == "bytes":
        return _make_bytes_fn(inventory, group_size)
    leaf_size = {
        "params": lambda count, leaf: count(leaf.axes),
        "flops": lambda count, leaf: _leaf_flops(count, leaf, inventory),
        "kv_bytes": lambda count, leaf: _leaf_kv_bytes(count, leaf),
    }[measure]

    governors = [_governors(leaf, inventory) for leaf in inventory.leaves]

    def size_fn(gates: PyTree, bits: Bits | None = None) -> Any:
        del bits  # They change nothing but bytes.
        flat, sums, total = gates if _is_flat(gates) else flatten(gates), {}, 0
        for leaf, governed in zip(inventory.leaves, governors, strict=True):
            total = total + leaf_size(partial(_count, governed, flat, sums), leaf)
        return total

    return size_fn


def _make_bytes_fn(inventory: Inventory, group_size: int) -> SizeFn:
    header = _file_header_bytes(inventory, group_size)
    governors = [_governors(leaf, inventory) for leaf in inventory.leaves]

    def size_fn(gates: PyTree, bits: Bits | None = None) -> Any:
        flat, sums = gates if _is_flat(gates) else flatten(gates), {}
        total = header + (_states_bytes(flat, bits) if bits else 0)
        for leaf, governed in zip(inventory.leaves, governors, strict=True):
            count = partial(_count, governed, flat, sums)
            total = total + _leaf_bytes(count, leaf, flat, bits, group_size)
        return total

    return size_fn


def _is_flat(gates: Mapping) -> bool:
    return all(isinstance(key, tuple) for key in gates)


@dataclasses.dataclass(frozen=True)
class _Governors:
    """Who governs a leaf: along each axis, by name and length, and as a whole."""

    axes: tuple[tuple[str, int, tuple[Path, ...]], ...]
    wholes: tuple[Path, ...]


def _governors(leaf: Leaf, inventory: Inventory) -> _Governors:
    """Returns the gates of each axis, its units' group last, and of the modules."""
    axes = []
    for name, length in zip(leaf.axes, leaf.shape, strict=True):
        names = (name, NESTED[name]) if name in NESTED else (name,)
        found = (nearest_gate(leaf.path, axis, inventory.gates) for axis in names)
        axes.append((name, length, tuple(path for path in found if path)))
    wholes = ((*leaf.path[:depth], SUBLAYER) for depth in range(len(leaf.path)))
    return _Governors(tuple(axes), tuple(p for p in wholes if p in inventory.gates))


def _count(
    governors: _Governors, gates: Mapping[Path, Any], sums: dict, axes: AxisNames
) -> Any:
    """Returns the elements along `axes` of a leaf that its gates leave open.

    What the gates of an axis add up to is kept in `sums` for the rest of the walk.
    """
    count = 1
    for name, length, paths in governors.axes:
        if name not in axes:
            continue
        if (paths, length) not in sums:
            sums[paths, length] = _open_units(name, length, paths, gates)
        count = count * sums[paths, length]
    for path in governors.wholes:
        count = count * gates[path]
    return count


def _open_units(
    name: str, length: int, paths: tuple[Path, ...], gates: Mapping[Path, Any]
) -> Any:
    """Returns how many units of an axis its gates leave open."""
    found = {path[-1]: gates[path] for path in paths}
    own, group = found.get(name), found.get(NESTED.get(name, ""))
    if group is not None:
        return nest(own, group, length).sum()
    return length if own is None else own.sum()


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
    count: Callable,
    leaf: Leaf,
    gates: Mapping[Path, Any],
    bits: Bits | None,
    group_size: int,
) -> Any:
    """Returns a weight's bytes in the packed file: codes, and steps below 16 bits."""
    axis = bit_axis(leaf.axes)
    if bits is None:
        return FULL // 8 * count(leaf.axes)
    row, whole = (
        count(tuple(a for i, a in enumerate(leaf.axes) if i != axis)),
        count(()),
    )
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
    """Returns the bytes of a packed file's header and table, give or take twenty.

    The table tells lengths of axes; here each has three digits, so that what is
    predicted for a cut does not depend on how well its lengths can be deflated.
    """
    numbers: dict[Path, int] = {}

    def number(leaf: Leaf, name: str) -> int:
        shared = name in (CHANNELS, "vocab")
        key = (name,) if shared else (*leaf.path[:2], name)
        return numbers.setdefault(key, 101 + 37 * len(numbers) % 899)

    shapes = {
        leaf.path: np.broadcast_to(0, [number(leaf, name) for name in leaf.axes])
        for leaf in inventory.leaves
    }
    names = unflatten({leaf.path: leaf.axes for leaf in inventory.leaves})
    weights = unflatten(shapes)
    table = make_table(weights, names, uniform_precision(weights, names, 8), group_size)
    return HEADER_BYTES + len(table)


HEADER_BYTES = 352
"""Length field, names and offsets of a packed file, as long as they may get, and room
for longer numbers in its table."""

STATE_BITS = 3
"""Bits that tell which of its states a unit is in."""


def unit_sizes(size_fn: SizeFn, gates: Mapping[Path, np.ndarray]) -> dict[Path, Any]:
    """Returns what one more closed unit of each gate takes off, the first one's.

    Size is linear in each gate and the units of a gate are alike, so that the first
    one tells for all, as long as it is open.
    """
    whole, sizes = size_fn(gates), {}
    for path, gate in gates.items():
        closed = gate.copy()
        closed.reshape(-1)[0] = 0.0
        sizes[path] = whole - size_fn({**gates, path: closed})
    return sizes
