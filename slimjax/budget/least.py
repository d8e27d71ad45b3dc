"""The smallest size that a model can be cut to within its limits."""

import numpy as np

from slimjax.budget.limits import Limits
from slimjax.budget.units import list_units
from slimjax.objective.inventory import Inventory
from slimjax.objective.size import SizeFn


def least_size(inventory: Inventory, size_fn: SizeFn, limits: Limits) -> float:
    """Returns the size that can be reached whatever is removed first.

    Of layers that must stay, those count that are largest at their least.
    """
    costs = {path: np.zeros(shape) for path, shape in inventory.gates.items()}
    units, gates = list_units(inventory, costs, limits), inventory.open_gates()
    for family in (*units.channels, *units.families):
        family.close(gates, len(family.steps))
    for layer in units.layers:
        for sublayer in (units.sublayers[i] for i in layer.sublayers):
            gates[sublayer.path][...] = float(
                not (layer.is_removable or sublayer.is_removable)
            )
    least = float(size_fn(gates))
    opened = lambda *paths: gates | {path: np.ones(()) for path in paths}
    must: dict[str, list[float]] = {}
    may: dict[str, list[float]] = {}
    for layer in units.layers:
        if layer.tower is None:
            continue
        inside = [units.sublayers[i] for i in layer.sublayers]
        stuck = [sublayer.path for sublayer in inside if not sublayer.is_removable]
        ways = [stuck] if stuck else [[sublayer.path] for sublayer in inside]
        more = max(float(size_fn(opened(*paths))) - least for paths in ways)
        (may if layer.is_removable else must).setdefault(layer.tower, []).append(more)
    for tower in sorted(must.keys() | may.keys()):
        num_more = max(0, limits.min_layers - len(must.get(tower, ())))
        least += sum(must.get(tower, ()))
        least += sum(sorted(may.get(tower, ()), reverse=True)[:num_more])
    return least
