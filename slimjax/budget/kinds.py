"""No seam takes too much from one kind of layer.

Sublayers are of one kind if they stand at the same place of the layers of one tower:
all attentions of an encoder, all its MLPs. A sublayer outside of layers is a kind of
its own. What a decision takes from a kind is the part of its size that is closed, in
the measure in which that is most.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from slimjax.budget.decision import Decision
from slimjax.budget.units import Costs, Gates
from slimjax.models.paths import layer_of
from slimjax.nn.gates import SUBLAYER
from slimjax.objective.inventory import Inventory
from slimjax.objective.size import SizeFn
from slimjax.trees import Path


def list_kinds(inventory: Inventory) -> dict[str, list[Path]]:
    """Returns the modules that can be removed as a whole, by kind.

    Examples:
        >>> from slimjax.models.paths import layer_name
        >>> gates = {(layer_name(i), "mlp", "sublayer"): () for i in range(2)}
        >>> kinds = list_kinds(Inventory((), gates | {("fusion", "sublayer"): ()}))
        >>> {kind: len(modules) for kind, modules in kinds.items()}
        {'*.mlp': 2, 'fusion': 1}
    """
    kinds: dict[str, list[Path]] = {}
    for path in inventory.gates:
        if path[-1] == SUBLAYER and len(path) > 1:
            tower, number, rest = layer_of(path[:-1])
            place = rest if number is None else (*filter(None, (tower, "*")), *rest)
            kinds.setdefault(".".join(place), []).append(path[:-1])
    return kinds


def part_taken(
    modules: Iterable[Path], gates: Gates, inventory: Inventory, size_fn: SizeFn
) -> float:
    """Returns the largest part of a size of some modules that gates close."""
    modules = tuple(modules)
    inside = lambda path: any(path[: len(m)] == m for m in modules)
    whole = inventory.open_gates()
    left = {path: gates[path] if inside(path) else whole[path] for path in whole}
    gone = {(*m, SUBLAYER): np.zeros(()) for m in modules}
    sizes = np.atleast_1d(size_fn(whole))
    all_of_it = sizes - size_fn(whole | gone)
    taken = (sizes - size_fn(left))[all_of_it != 0] / all_of_it[all_of_it != 0]
    return float(taken.max(initial=0.0))


def decide_within(
    max_fraction: float,
    decide: Callable[[Costs], Decision | None],
    costs: Costs,
    inventory: Inventory,
    size_fn: SizeFn,
) -> Decision | None:
    """Returns a decision that takes no more than a part of any kind.

    Where one takes more, the costliest sublayer that is removed must stay, and it
    is decided anew; what units take by themselves is limited elsewhere. Where none is
    left that could be kept, there is no such decision.

    Args:
        max_fraction: The part of a kind that may be removed.
        decide: From costs to a decision, None where there is none.
        costs: Nats that closing each unit costs, by gate.
        inventory: The model.
        size_fn: From gates to size, or to sizes in several measures.
    """
    kinds, costs = list_kinds(inventory), dict(costs)
    while True:
        decision = decide(costs)
        if decision is None:
            return None
        over = [
            path
            for modules in kinds.values()
            if part_taken(modules, decision.gates, inventory, size_fn) > max_fraction
            for path in _dearest(modules, decision.gates, costs)
        ]
        if not over:
            return decision
        if all(np.isinf(costs[path]) for path in over):
            return None
        costs |= {path: np.array(np.inf) for path in over}


def _dearest(
    modules: Iterable[Path], gates: Gates, costs: Mapping[Path, np.ndarray]
) -> list[Path]:
    """Returns the gate of the closed sublayer that costs most, if there is one."""
    paths = [(*module, SUBLAYER) for module in modules]
    closed = [path for path in paths if gates[path] == 0]
    cost = lambda path: np.nan_to_num(float(costs[path]), nan=0.0)
    return [max(closed, key=cost)] if closed else []
