"""Bytes of the packed file: codes, steps between levels, and a table of both.

With the gates and bits of what stays it is what `slimjax.nn.packing` will write, or at
most a few dozen bytes more; the header is reckoned the same before and after a cut.
"""

import functools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import PyTree

from slimjax.nn.axes import numpy_of
from slimjax.nn.gates import axis_gates, is_width
from slimjax.nn.grids import Grid, as_grid
from slimjax.nn.packing import key_in, make_table
from slimjax.nn.quantize import (
    FULL,
    bit_axis,
    bit_key,
    uniform_precision,
)
from slimjax.objective.inventory import (
    Bits,
    Inventory,
    Leaf,
    count,
    flat_gates,
    governors_of,
    weight_trees,
)
from slimjax.trees import Path, flatten, unflatten

HEADER_BYTES = 384
"""Length field, digest, names and offsets of a packed file, as long as they may get."""

ARRAY_BYTES = 88
"""What one array more takes of it."""

STATE_BITS = 3
"""Bits that tell which of its states a unit is in."""

BITS = np.arange(FULL + 1, dtype=np.float32)


def make_bytes_fn(inventory: Inventory, grid: Grid | int) -> Callable[..., Any]:
    """Returns the function from gates, and maybe bits, to bytes."""
    grid = as_grid(grid)
    header = functools.cache(partial(header_bytes, inventory, grid))
    weighers = [_make_weigher(leaf, inventory, grid) for leaf in inventory.leaves]
    matrices = _sharing(inventory)

    def size_fn(gates: PyTree, bits: Bits | None = None) -> Any:
        own = any(path in (bits or {}) for path in matrices)
        flat, sums, tallies, total = flat_gates(gates), {}, {}, header(own)
        for weigh in weighers:
            total = total + weigh(flat, sums, tallies, bits)
        return total

    return size_fn


class Tally(NamedTuple):
    """How many units that stay have how many bits."""

    counts: Any  # [FULL + 1], by bits.
    num_states: int  # Distinct bits.
    num_ends: int  # Distinct bits below 16: each of them begins with a new byte.


def _make_weigher(leaf: Leaf, inventory: Inventory, grid: Grid) -> Callable:
    """Returns the function to a weight's bytes in the packed file.

    Those are its codes, its steps below 16 bits, and, with the first weight of a bit
    key, the states of units that are not all alike.
    """
    governed, axis = governors_of(leaf, inventory), bit_axis(leaf.axes)
    name = leaf.path[-1] if axis is None else leaf.axes[axis]
    others = tuple(name for i, name in enumerate(leaf.axes) if i != axis)

    def weigh(gates: Mapping, sums: dict, tallies: dict, bits: Bits | None) -> Any:
        if bits is None:
            return FULL // 8 * count(governed, gates, sums, leaf.axes)
        row, whole = (count(governed, gates, sums, axes) for axes in (others, ()))
        key = key_in(bits, leaf.path, leaf.axes)
        is_first = key not in tallies
        counts, num_states, num_ends = tallies.setdefault(
            key, _tally(key, name, bits[key], gates) if is_first else None
        )
        total = lambda axes: count(governed, gates, sums, axes)
        groups = _count_groups(leaf, grid, total, counts[:FULL].sum(), counts.sum())
        num_bits = row * (counts @ BITS) + FULL * grid.numbers * groups
        if is_first and num_states > 1:
            num_bits = num_bits + STATE_BITS * whole * counts.sum()
        return num_bits / 8 + num_ends * whole

    return weigh


def _count_groups(
    leaf: Leaf, grid: Grid, total: Callable, num_rounded: Any, num_units: Any
) -> Any:
    """Returns how many groups of elements of a weight share a step.

    Args:
        leaf: The weight.
        grid: Which elements share a step.
        total: From names of axes to the elements along them that stay.
        num_rounded: Units that stay, and have fewer than `FULL` bits.
        num_units: Units that stay.
    """
    axis, num_read = bit_axis(leaf.axes), grid.num_read(leaf.axes)
    read = tuple(name for i, name in enumerate(leaf.axes) if i != axis)
    num_rows = num_rounded
    if num_read:
        read, written = leaf.axes[:num_read], leaf.axes[num_read:]
        num_rows = total(written) * num_rounded / max(num_units, 1)  # All, or none.
    length = total(read)
    groups = -(-length // grid.group_size) if grid.group_size else total(())
    return groups * num_rows


def _tally(key: Path, name: str, own: np.ndarray, gates: Mapping[Path, Any]) -> Tally:
    """Counts the units of a bit key by their bits.

    Args:
        key: The key.
        name: Name of the axis of the units.
        own: Their bits.
        gates: All gates.

    Of gates in a train step, whose values are not known yet, all are taken to stay.
    """
    units = axis_gates(key, name, len(own), gates)
    units = np.ones(len(own)) if units is None else units
    if numpy_of(units) is np:
        as_bytes = lambda x, dtype: np.asarray(x, dtype).tobytes()
        return _tally_known(as_bytes(own, np.int64), as_bytes(units, np.float64))
    present = np.bincount(own, minlength=FULL + 1)
    counts = units @ (own[:, None] == BITS).astype(np.float32)
    return _with_counts(counts, present)


@functools.lru_cache(maxsize=10_000)
def _tally_known(own: bytes, units: bytes) -> Tally:
    """Counts units whose gates are known; a search asks for the same ones often."""
    counts = np.bincount(np.frombuffer(own, np.int64), np.frombuffer(units), FULL + 1)
    return _with_counts(counts, counts)


def _with_counts(counts: Any, present: np.ndarray) -> Tally:
    return Tally(counts, int((present > 0).sum()), int((present[:FULL] > 0).sum()))


def is_finer(inventory: Inventory, bits: Bits) -> bool:
    """Whether matrices have bits of their own, and not those of a module's units."""
    return any(path in bits for path in _sharing(inventory))


def _sharing(inventory: Inventory) -> list[Path]:
    """Returns the weights that share bits with others of their module."""
    leaves = inventory.leaves
    return [x.path for x in leaves if bit_key(x.path, x.axes) != x.path]


def header_bytes(inventory: Inventory, grid: Grid | int, is_finer: bool = False) -> int:
    """Returns the bytes of a packed file's header and table, give or take twenty.

    With `is_finer` each matrix has bits of its own.

    The table has the lengths of axes; here each has three digits, so that what is
    predicted for a cut does not depend on how well its lengths can be deflated.
    """
    numbers: dict[Path, int] = {}

    def number(leaf: Leaf, name: str) -> int:
        shared = is_width(name) or name == "vocab"
        key = (name,) if shared else (*leaf.path[:2], name)
        return numbers.setdefault(key, 101 + 37 * len(numbers) % 899)

    shapes = {
        leaf.path: np.broadcast_to(0, [number(leaf, name) for name in leaf.axes])
        for leaf in inventory.leaves
    }
    weights, (_, names) = unflatten(shapes), weight_trees(inventory)
    precision = uniform_precision(weights, names, 8)
    if is_finer:
        bits = flatten(precision["bits"])
        own = {
            leaf.path: bits[bit_key(leaf.path, leaf.axes)] - place % 2
            for place, leaf in enumerate(inventory.leaves)
        }
        precision = {"bits": unflatten(own), "fit": precision["fit"]}
    grid = as_grid(grid)
    arrays = HEADER_BYTES + (ARRAY_BYTES if grid.has_minimum else 0)
    return arrays + len(make_table(weights, names, precision, grid))
