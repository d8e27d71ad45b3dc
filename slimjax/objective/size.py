"""Size: one walk over named axes, for every measure, differentiable in the gates.

A leaf (a weight) counts, for each of its axes, the sum of the axis's gates, or the
axis's length where nothing governs it; and all of that times the gates of the modules
it stands in. With gates of 0 and 1 this is exact: the size of the model that is left.

The same code runs on NumPy gates (float64, decisions at a seam) and on JAX gates
(inside a train step).
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import PyTree

from slimjax.errors import ConfigError, suggest
from slimjax.nn.gates import NESTED, SUBLAYER, nearest_gate, nest
from slimjax.trees import AxisNames, Path, axis_names, flatten

MEASURES = ("params", "flops", "bytes", "kv_bytes")
SizeFn = Callable[[PyTree], Any]
"""Gates (nested dict, of NumPy or JAX arrays) -> size, a scalar."""

STORED_BITS = 16
"""Bits a weight in the packed model file."""


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
    measure: str, inventory: Inventory, start: Mapping[str, float] | None = None
) -> SizeFn:
    """Returns the function from gates to size in one measure, or a sum of measures.

    ``params``: elements of the weights. ``flops``: forward FLOPs of matrix products a
    token, causal attention counted at half its square. ``bytes``: the packed model
    file, header included. ``kv_bytes``: bfloat16 bytes of the KV cache a token. In a
    weighted sum each measure is a part of its size at the start.

    Args:
        measure: A measure, or a sum as `parse_measure` reads it.
        inventory: What to count.
        start: Sizes of the model that the run started from, by measure; None means
            that `inventory` is of that model.

    Raises:
        ConfigError: If the measure is unknown.
    """
    weights = parse_measure(measure)
    if measure in MEASURES:
        return _make_plain_size_fn(measure, inventory)
    size_fns = {name: _make_plain_size_fn(name, inventory) for name in weights}
    gates = inventory.open_gates()
    whole = start or {name: float(fn(gates)) for name, fn in size_fns.items()}

    def mixed_size_fn(gates: PyTree) -> Any:
        parts = (w * size_fns[name](gates) / whole[name] for name, w in weights.items())
        return sum(parts)

    return mixed_size_fn


def _make_plain_size_fn(measure: str, inventory: Inventory) -> SizeFn:
    leaf_size = {
        "params": lambda count, leaf: count(leaf.axes),
        "flops": lambda count, leaf: _leaf_flops(count, leaf, inventory),
        "bytes": lambda count, leaf: _leaf_bytes(count, leaf),
        "kv_bytes": lambda count, leaf: _leaf_kv_bytes(count, leaf),
    }[measure]

    governors = [_governors(leaf, inventory) for leaf in inventory.leaves]

    def size_fn(gates: PyTree) -> Any:
        flat, sums = gates if _is_flat(gates) else flatten(gates), {}
        total = FILE_HEADER_BYTES if measure == "bytes" else 0
        for leaf, governed in zip(inventory.leaves, governors, strict=True):
            total = total + leaf_size(partial(_count, governed, flat, sums), leaf)
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


def _leaf_bytes(count: Callable, leaf: Leaf) -> Any:
    """Returns a weight's bytes in the packed file, and those of its header entry."""
    return STORED_BITS // 8 * count(leaf.axes) + entry_bytes(leaf) * count(())


@cache
def entry_bytes(leaf: Leaf) -> int:
    """Returns the length of a weight's entry in a safetensors header.

    Offsets are taken to have 7 digits, which is off by a few bytes an entry.
    """
    offset = 1_000_000
    entry = {"dtype": "BF16", "shape": leaf.shape, "data_offsets": [offset, offset]}
    text = json.dumps({".".join(leaf.path): entry}, separators=(",", ":"))
    return len(text) - 1  # One brace goes, one comma stays.


FILE_HEADER_BYTES = 8 + len('{"__metadata__":{"format":"slimjax-packed-1"}}') + 4
"""Length field, metadata and mean padding of a packed file."""


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
