"""Bytes of the packed file: codes, steps between levels, and what tells them apart.

With the gates and bits of what stays it is what `slimjax.nn.packing` will write, or at
most a few dozen bytes more; the header is reckoned the same before and after a cut.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax.nn.gates import CHANNELS, axis_gates
from slimjax.nn.packing import make_table
from slimjax.nn.quantize import FULL, bit_axis, bit_key, uniform_precision
from slimjax.objective.inventory import (
    Bits,
    Inventory,
    Leaf,
    count,
    flat_gates,
    governors_of,
    weight_trees,
)
from slimjax.trees import Path, unflatten

HEADER_BYTES = 336
"""Length field, names and offsets of a packed file, as long as they may get."""

STATE_BITS = 3
"""Bits that tell which of its states a unit is in."""


def make_bytes_fn(inventory: Inventory, group_size: int) -> Callable[..., Any]:
    """Returns the function from gates, and maybe bits, to bytes."""
    header = _file_header_bytes(inventory, group_size)
    governors = [governors_of(leaf, inventory) for leaf in inventory.leaves]

    def size_fn(gates: PyTree, bits: Bits | None = None) -> Any:
        flat, sums = flat_gates(gates), {}
        total = header + (_states_bytes(flat, bits) if bits else 0)
        for leaf, governed in zip(inventory.leaves, governors, strict=True):
            counted = partial(count, governed, flat, sums)
            total = total + _leaf_bytes(counted, leaf, flat, bits, group_size)
        return total

    return size_fn


def _leaf_bytes(
    counted: Callable,
    leaf: Leaf,
    gates: Mapping[Path, Any],
    bits: Bits | None,
    group_size: int,
) -> Any:
    """Returns a weight's bytes in the packed file: codes, and steps below 16 bits."""
    axis = bit_axis(leaf.axes)
    if bits is None:
        return FULL // 8 * counted(leaf.axes)
    row, whole = (
        counted(tuple(a for i, a in enumerate(leaf.axes) if i != axis)),
        counted(()),
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
    weights, (_, names) = unflatten(shapes), weight_trees(inventory)
    table = make_table(weights, names, uniform_precision(weights, names, 8), group_size)
    return HEADER_BYTES + len(table)
