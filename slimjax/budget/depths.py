"""What a model weighs whose units have depths, bits that are being learned.

A unit of depth b weighs what its states weigh, in straight lines from one to the next,
with zero bits among them; in other measures than bytes it is there in full from the
least bits on, and below in part.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from slimjax.budget.limits import Limits
from slimjax.nn.gates import SUBLAYER, is_shared
from slimjax.nn.quantize import FULL, STATES, bit_axis, bit_key, least_bits, num_groups
from slimjax.objective.inventory import Bits, Inventory, uniform_bits
from slimjax.objective.size import SizeFn
from slimjax.trees import Path, flatten, unflatten


def depths_of(bits: Bits) -> PyTree:
    """Returns the depths at which units have just these bits, as nested dicts."""
    return unflatten({key: own.astype(np.float32) for key, own in bits.items()})


def least_depths(
    inventory: Inventory, limits: Limits, lowest: int
) -> dict[Path, float]:
    """Returns how far the depths of each bit key may fall.

    To 0, where units have a gate by which they may be removed; else to the fewest bits.
    Filters are not removed this way: they are part of the weights of other units.

    Args:
        inventory: The model.
        limits: What may be removed.
        lowest: The fewest bits that a unit may have.
    """
    least = {}
    for leaf in inventory.leaves:
        key = bit_key(leaf.path, leaf.axes)
        floor = max(lowest, least_bits(leaf.axes))
        is_removable = key in inventory.gates and limits.may_move(key)
        is_removable = is_removable and not is_shared(key[-1])
        least[key] = 0.0 if is_removable else float(floor)
    return least


def depth_gates(depths: PyTree, inventory: Inventory) -> dict[Path, Any]:
    """Returns the gates of units, by how much of them is there."""
    flat, gates = flatten(depths), {}
    for path, shape in inventory.gates.items():
        has_depth = path in flat and path[-1] != SUBLAYER and not is_shared(path[-1])
        part = jnp.clip(flat[path] / min(STATES), 0.0, 1.0) if has_depth else None
        gates[path] = np.ones(shape, np.float32) if part is None else part
    return gates


def unit_bytes(inventory: Inventory, group_size: int) -> dict[Path, np.ndarray]:
    """Returns what a unit of each bit key weighs with 0 bits and in each of `STATES`.

    Examples:
        >>> from slimjax.objective.inventory import Leaf
        >>> leaf = Leaf(("mlp", "up"), (8, 3), ("embed", "mlp"))
        >>> unit_bytes(Inventory((leaf,), {}), 0)[("mlp", "mlp")].tolist()
        [0.0, 4.0, 5.0, 6.0, 8.0, 10.0, 16.0]
    """
    states, sums = np.array((0, *STATES)), {}
    for leaf in inventory.leaves:
        axis, key = bit_axis(leaf.axes), bit_key(leaf.path, leaf.axes)
        row = int(np.prod([n for i, n in enumerate(leaf.shape) if i != axis]))
        steps = FULL * num_groups(row, group_size) * ((states > 0) & (states < FULL))
        sums[key] = sums.get(key, 0.0) + (row * states + steps) / 8
    return sums


def make_depth_size_fn(
    measure: str, size_fn: SizeFn, inventory: Inventory, group_size: int
) -> SizeFn:
    """Returns the function from depths to size in one measure, differentiable.

    Args:
        measure: The measure.
        size_fn: From gates and bits to size in it.
        inventory: What is counted.
        group_size: Elements that share a step between levels.
    """
    if measure != "bytes":
        return lambda depths: size_fn(depth_gates(depths, inventory))
    weighed, knots = unit_bytes(inventory, group_size), np.array((0, *STATES))

    def units(depths: Mapping[Path, Any]) -> Any:
        weigh = lambda key, own: jnp.interp(own, knots, weighed[key]).sum()
        return sum(weigh(key, own) for key, own in depths.items())

    full = uniform_bits(inventory, FULL)
    whole = float(size_fn(inventory.open_gates(), full))
    header = whole - sum(len(own) * weighed[key][-1] for key, own in full.items())
    return lambda depths: header + units(flatten(depths))
