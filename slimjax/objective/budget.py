"""Who goes at a price, and the price at which a budget is met.

At a price ``alpha`` (nats a target for the whole starting model) a unit u goes when

    d_u < alpha * size_u / Size(start)

where ``d_u`` is the loss its going costs. A sublayer is weighed as a whole first
against the best that can be made of its parts. A budget is met by the price that is
its dual variable, found by bisection on the true size walk, and a greedy fill.
"""

import dataclasses
from typing import Any

import numpy as np

from slimjax.nn.gates import NESTED, SUBLAYER, nest
from slimjax.objective.size import Inventory, SizeFn, unit_sizes
from slimjax.objective.units import Costs, Family, Gates, Limits, list_units
from slimjax.trees import Path

MAX_ALPHA = 1e6
"""Nats for the whole model; above this, everything that may go is gone."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What stays, and what it is said to cost.

    Attributes:
        gates: 1 for what stays, 0 for what goes.
        alpha: The price at which it was decided, nats for the whole starting model.
        predicted_loss_change: Sum of the costs of all that goes, nats a target.
        size: Size of what stays, in the measure asked for.
    """

    gates: Gates
    alpha: float
    predicted_loss_change: float
    size: float


class Chooser:
    """Decides for one model; keeps what all prices have in common."""

    def __init__(
        self,
        inventory: Inventory,
        size_fn: SizeFn,
        costs: Costs,
        limits: Limits,
        whole: float,
    ):
        """Lists the units and weighs them.

        Args:
            inventory: The model as it is now.
            size_fn: From gates to size.
            costs: Nats that closing each unit costs.
            limits: What must stay.
            whole: Size of the model that the run started from.
        """
        self.inventory, self.size_fn, self.whole = inventory, size_fn, whole
        self.families, self.sublayers = list_units(inventory, costs, limits)
        self.unit_sizes = unit_sizes(size_fn, inventory)

    def at_price(self, alpha: float, kept: frozenset[Path] = frozenset()) -> Decision:
        """Returns the best decision at a price; the sublayers `kept` stay."""
        gates, taken = self.inventory.open_gates(), []
        for family in self.families:
            sizes = self.step_sizes(family, gates)
            goes = family.costs < alpha * sizes / self.whole
            num_steps = len(goes) if goes.all() else int(np.argmin(goes))
            family.close(gates, num_steps)
            taken.append((family.costs[:num_steps].sum(), sizes[:num_steps].sum()))
        cost = sum(cost for cost, _ in taken)
        for sublayer in self.sublayers:
            inner_cost = sum(taken[i][0] for i in sublayer.families)
            inner_size = sum(taken[i][1] for i in sublayer.families)
            left = self.unit_sizes[sublayer.path] - inner_size
            goes = sublayer.cost < inner_cost + alpha * left / self.whole
            if goes and sublayer.path not in kept:
                gates[sublayer.path][...] = 0.0
                cost += sublayer.cost - inner_cost
        return self._decision(gates, alpha, cost)

    def at_budget(self, budget: float) -> Decision | None:
        """Returns the decision of least cost found within a budget.

        Returns None if even all that may go is not enough.
        """
        coarse = self._bisect(budget, frozenset())
        if coarse is None:
            return None
        above = self.at_price(coarse.alpha * (1 - 1e-9))
        kept = frozenset(s.path for s in self.sublayers if above.gates[s.path] > 0)
        fine = self._bisect(budget, kept)  # No sublayer goes that need not.
        found = [self._fill(d, budget) for d in (coarse, fine) if d is not None]
        return min(found, key=lambda decision: decision.predicted_loss_change)

    def step_sizes(self, family: Family, gates: Gates) -> np.ndarray:
        """Returns what each step of a family takes off, groups gone not counted."""
        return np.array([self._step_size(step, gates) for step in family.steps])

    def _step_size(self, step: tuple, gates: Gates) -> float:
        return sum(
            self.unit_sizes[path] * float(_open_parents(path, gates)[units].sum())
            for path, units in step
        )

    def _bisect(self, budget: float, kept: frozenset[Path]) -> Decision | None:
        low, high = 0.0, MAX_ALPHA
        best = self.at_price(high, kept)
        if best.size > budget:
            return None
        free = self.at_price(low, kept)
        if free.size <= budget:
            return free
        for _ in range(80):
            middle = (low * high) ** 0.5 if low else high * 1e-3
            if middle < 1e-12 or high / max(low, 1e-12) < 1 + 1e-9:
                break
            decision = self.at_price(middle, kept)
            if decision.size <= budget:
                high, best = middle, decision
            else:
                low = middle
        return best

    def _fill(self, decision: Decision, budget: float) -> Decision:
        """Opens again, dearest first, what fits into the rest of a budget."""
        gates = {path: gate.copy() for path, gate in decision.gates.items()}
        size, cost = decision.size, decision.predicted_loss_change
        counts = [self._closed_steps(family, gates) for family in self.families]
        while True:
            best = None
            for i, (family, count) in enumerate(
                zip(self.families, counts, strict=True)
            ):
                if not count or not self._is_open(family, gates):
                    continue
                step_size = self._step_size(family.steps[count - 1], gates)
                if step_size <= 0 or size + step_size > budget:
                    continue
                worth = family.costs[count - 1] / step_size
                if best is None or worth > best[0]:
                    best = (worth, i)
            if best is None:
                return self._decision(gates, decision.alpha, cost)
            family = self.families[best[1]]
            counts[best[1]] -= 1
            for path, units in family.steps[counts[best[1]]]:
                gates[path][units] = 1.0
            cost -= family.costs[counts[best[1]]]
            size = float(self.size_fn(gates))

    @staticmethod
    def _closed_steps(family: Family, gates: Gates) -> int:
        closed = [all((gates[p][u] == 0).all() for p, u in s) for s in family.steps]
        return int(np.sum(closed))

    @staticmethod
    def _is_open(family: Family, gates: Gates) -> bool:
        return all(gates[(*module, SUBLAYER)] > 0 for module in family.modules)

    def _decision(self, gates: Gates, alpha: float, cost: float) -> Decision:
        return Decision(gates, alpha, float(cost), float(self.size_fn(gates)))


def _open_parents(path: Path, gates: Gates) -> np.ndarray:
    """Returns, for each unit of a gate, whether the group it lives in is open."""
    if path[-1] not in NESTED:
        return np.ones(len(gates[path]))
    parent: Any = gates[(*path[:-1], NESTED[path[-1]])]
    return np.asarray(nest(None, parent, len(gates[path])))
