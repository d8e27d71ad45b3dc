"""How a size is shared out among the towers of a model."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from slimjax.objective.file_size import header_bytes, is_finer
from slimjax.objective.inventory import Bits, Inventory
from slimjax.objective.size import make_size_fn
from slimjax.trees import Path

MAIN = "main"
"""What the main tower is called, which has no name; heads are counted there."""

SHARED_OUT = ("params", "flops", "bytes")
"""Measures that are shared out; bytes without the header of the file."""


def sizes_by_tower(
    inventory: Inventory,
    towers: Sequence[str],
    bits: Bits,
    group_size: int = 0,
    gates: Mapping[Path, np.ndarray] | None = None,
) -> dict[str, dict[str, float]]:
    """Returns the sizes of the weights of each tower, by its name and by measure.

    Args:
        inventory: The model.
        towers: Names of the towers; empty for the main one.
        bits: Bits of the units.
        group_size: Weights that share a step between levels.
        gates: 0 for what is closed; None where all is open.

    Examples:
        >>> import numpy as np
        >>> from slimjax.objective.inventory import Leaf
        >>> up = Leaf(("image", "up"), (4, 3), ("embed", "mlp"))
        >>> down = Leaf(("down",), (3, 2), ("mlp", "embed"))
        >>> bits = {("image", "mlp"): np.full(3, 16), ("mlp",): np.full(3, 8)}
        >>> found = sizes_by_tower(Inventory((up, down), {}), ("image", ""), bits)
        >>> {name: (own["params"], own["bytes"]) for name, own in found.items()}
        {'image': (12.0, 24.0), 'main': (6.0, 13.0)}
    """
    named, found = [name for name in towers if name], {}
    for tower in towers:
        leaves = (x for x in inventory.leaves if owner_of(x.path, named) == tower)
        own = dataclasses.replace(inventory, leaves=tuple(leaves))
        opened = gates or own.open_gates()
        sizes = {
            measure: float(make_size_fn(measure, own, group_size)(opened, bits))
            for measure in SHARED_OUT
        }
        sizes["bytes"] -= header_bytes(own, group_size, is_finer(own, bits))
        found[tower or MAIN] = sizes
    return found


def owner_of(path: Path, named: Sequence[str]) -> str:
    """Returns the tower that a weight or a gate stands in, of towers with a name.

    Examples:
        >>> owner_of(("image", "up"), ["image", "text"]), owner_of(("head",), ["image"])
        ('image', '')
    """
    return path[0] if path[0] in named else ""
