"""Size: one walk over named axes, for every measure, differentiable in the gates.

A leaf (a weight) counts, for each of its axes, the sum of the axis's gates, or the
axis's length where nothing governs it; and all of that times the gates of the modules
it stands in. With gates of 0 and 1 this is exact: the size of the model that is left.

The same code runs on NumPy gates (float64, decisions at a seam) and on JAX gates
(inside a train step).
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax.errors import ConfigError, suggest
from slimjax.nn.grids import Grid
from slimjax.objective.file_size import make_bytes_fn
from slimjax.objective.inventory import (
    Bits,
    Inventory,
    Leaf,
    count,
    flat_gates,
    governors_of,
)
from slimjax.objective.latency import LATENCY, make_latency_fn
from slimjax.objective.latency_table import UNKNOWN
from slimjax.trees import Path

MEASURES = ("params", "flops", "bytes", "kv_bytes")
"""Measures that a model has by itself; ``latency`` needs a table beside it."""

SizeFn = Callable[..., Any]
"""Gates (nested dict, of NumPy or JAX arrays), maybe bits -> size, a scalar."""


def parse_measure(measure: str, where: str = "config.objective.size") -> dict:
    """Returns the weight of each measure in a weighted sum of measures.

    Raises:
        ConfigError: If the text, found at `where`, is no measure and no sum of them.

    Examples:
        >>> parse_measure("0.5*params + 0.5*flops"), parse_measure("bytes")
        ({'params': 0.5, 'flops': 0.5}, {'bytes': 1.0})
    """
    weights: dict[str, float] = {}
    known = (*MEASURES, LATENCY)
    for term in measure.split("+"):
        factor, _, name = term.rpartition("*")
        name = name.strip()
        if name not in known:
            raise ConfigError(
                f"{where}={measure!r}: {name!r} is unknown. {suggest(name, known)}"
            )
        try:
            weights[name] = weights.get(name, 0.0) + float(factor or 1)
        except ValueError:
            weights[name] = math.nan
    if not all(0 < weight < math.inf for weight in weights.values()):
        raise ConfigError(
            f"{where}={measure!r} must be one of {', '.join(known)}, or a sum with "
            "positive weights, such as '0.5*params+0.5*flops'."
        )
    return weights


def make_size_fn(
    measure: str,
    inventory: Inventory,
    grid: Grid | int = 0,
    start: Mapping[str, float] | None = None,
) -> SizeFn:
    """Returns the function from gates to size in one measure, or a sum of measures.

    ``params``: elements of the weights. ``flops``: forward FLOPs of matrix products per
    target, causal attention counted at half its square. ``bytes``: the packed model
    file, header included; its function takes the `Bits` of units as a second argument,
    16 everywhere if there is none. ``kv_bytes``: bfloat16 bytes of the cache a token.
    ``latency``: seconds a token, by the table that the inventory has.
    In a weighted sum each measure is a part of its size at the start.

    Args:
        measure: A measure, or a sum as `parse_measure` reads it.
        inventory: What is counted.
        grid: Which elements share a step; a number is the size of groups of units.
        start: Sizes of the model that the run started from, by measure; None means
            that `inventory` is of that model, at 16 bits.

    Raises:
        ConfigError: If the measure is unknown.
    """
    weights = parse_measure(measure)
    if measure in (*MEASURES, LATENCY):
        return _make_plain_size_fn(measure, inventory, grid)
    size_fns = {m: _make_plain_size_fn(m, inventory, grid) for m in weights}
    gates = inventory.open_gates()
    whole = start or {name: float(fn(gates)) for name, fn in size_fns.items()}

    def mixed_size_fn(gates: PyTree, bits: Bits | None = None) -> Any:
        sizes = {name: fn(gates, bits) / whole[name] for name, fn in size_fns.items()}
        return sum(weight * sizes[name] for name, weight in weights.items())

    return mixed_size_fn


def _make_plain_size_fn(measure: str, inventory: Inventory, grid: Grid | int) -> SizeFn:
    if measure == "bytes":
        return make_bytes_fn(inventory, grid)
    if measure == LATENCY:
        return make_latency_fn(inventory, inventory.latency or UNKNOWN)
    leaf_size = {
        "params": lambda count, leaf: count(leaf.axes),
        "flops": _leaf_flops,
        "kv_bytes": _leaf_kv_bytes,
    }[measure]

    governors = [governors_of(leaf, inventory) for leaf in inventory.leaves]

    def size_fn(gates: PyTree, bits: Bits | None = None) -> Any:
        del bits  # They change nothing but bytes.
        flat, sums, total = flat_gates(gates), {}, 0
        for leaf, governed in zip(inventory.leaves, governors, strict=True):
            total = total + leaf_size(partial(count, governed, flat, sums), leaf)
        return total

    return size_fn


def _leaf_flops(count: Callable, leaf: Leaf) -> Any:
    """Returns 2 FLOPs an element for each position, and attention's own at the queries.

    Each element of a query meets as many keys, and then values, as its use says.
    """
    use = leaf.use
    flops = 2 * use.rate * count(leaf.axes) if use.rate else 0
    if use.rate and use.keys:
        flops = flops + 4 * use.keys * use.rate * count(leaf.axes[-2:])
    return flops


def _leaf_kv_bytes(count: Callable, leaf: Leaf) -> Any:
    """Returns the cache that a weight of keys or values fills, 2 bytes an element."""
    return 2 * leaf.use.kept * count(leaf.axes[-2:]) if leaf.use.kept else 0


def unit_sizes(size_fn: SizeFn, gates: Mapping[Path, np.ndarray]) -> dict[Path, Any]:
    """Returns what one more closed unit of each gate takes off, in the mean.

    The units of a gate are alike and most sizes are linear in it, so that one of them
    would tell for all; latency has knees, and so half of those that are open are asked.
    """
    whole, sizes = size_fn(gates), {}
    for path, gate in gates.items():
        is_open = np.flatnonzero(gate)
        half = is_open[: max(len(is_open) // 2, 1)]
        closed = gate.copy()
        closed.reshape(-1)[half] = 0.0
        sizes[path] = (whole - size_fn({**gates, path: closed})) / max(len(half), 1)
    return sizes
