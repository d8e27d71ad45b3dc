"""Who goes at a price, and the price at which a budget is met.

At a price ``alpha`` (nats a target for the whole starting model) a unit u goes when

    d_u < alpha * size_u / Size(start)

where ``d_u`` is the loss its going costs; with bits to choose (`BitPrices`), the right
side is what the unit costs in its best state. A sublayer is weighed as a whole first
against the best that can be made of its parts. A budget is met by the price that is
its dual variable, found by bisection on the true size walk, and a greedy fill.
"""

import dataclasses
from typing import Any

import numpy as np

from slimjax.nn.gates import NESTED, SUBLAYER, nest
from slimjax.objective.precision import BitPrices, States, by_gate
from slimjax.objective.size import Bits, Inventory, SizeFn, unit_sizes
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
        predicted_loss_change: Sum of the costs of all that goes or loses bits, nats a
            target.
        size: Size of what stays, in the measure asked for.
        bits: Bits of all units, also of those that go.
        states: The numbers of their states, where those were chosen.
        closing_cost: The part of the predicted change that comes from what goes.
    """

    gates: Gates
    alpha: float
    predicted_loss_change: float
    size: float
    bits: Bits | None
    states: States | None
    closing_cost: float


class Chooser:
    """Decides for one model; keeps what all prices have in common."""

    def __init__(
        self,
        inventory: Inventory,
        size_fn: SizeFn,
        costs: Costs,
        limits: Limits,
        whole: float,
        bits: Bits | None = None,
        prices: BitPrices | None = None,
    ):
        """Lists the units and weighs them.

        Args:
            inventory: The model as it is now.
            size_fn: From gates to size.
            costs: Nats that closing each unit costs.
            limits: What must stay.
            whole: Size of the model that the run started from.
            bits: Bits of all units as they are now.
            prices: What bits cost, where they are to be chosen.
        """
        self.inventory, self.size_fn, self.whole = inventory, size_fn, whole
        self.bits, self.prices = bits, prices
        self.paid = prices.cost_of(bits) if prices and bits else 0.0
        self.families, self.sublayers = list_units(inventory, costs, limits)
        self.unit_sizes = unit_sizes(lambda gates: size_fn(gates, bits), inventory)

    def at_price(self, alpha: float, kept: frozenset[Path] = frozenset()) -> Decision:
        """Returns the best decision at a price; the sublayers `kept` stay."""
        gates, taken = self.inventory.open_gates(), []
        chosen = self.prices.best(alpha, self.whole) if self.prices else None
        worth = self.worth(alpha, chosen)
        for family in self.families:
            saved = np.array([_step_sum(step, gates, worth) for step in family.steps])
            goes = family.costs < saved
            num_steps = len(goes) if goes.all() else int(np.argmin(goes))
            family.close(gates, num_steps)
            taken.append((family.costs[:num_steps].sum(), saved[:num_steps].sum()))
        cost = sum(cost for cost, _ in taken)
        for sublayer in self.sublayers:
            inner_cost = sum(taken[i][0] for i in sublayer.families)
            inner_worth = sum(taken[i][1] for i in sublayer.families)
            left = float(worth[sublayer.path]) - inner_worth
            goes = sublayer.cost < inner_cost + left
            if goes and sublayer.path not in kept:
                gates[sublayer.path][...] = 0.0
                cost += sublayer.cost - inner_cost
        return self._decision(gates, alpha, cost, chosen)

    def worth(self, alpha: float, chosen: States | None) -> Gates:
        """Returns the nats that closing each unit of each gate saves at a price."""
        worth = {
            path: np.full(shape, alpha * self.unit_sizes[path] / self.whole)
            for path, shape in self.inventory.gates.items()
        }
        if self.prices is None or chosen is None:
            return worth
        values = self.prices.values(chosen, alpha, self.whole)
        return worth | by_gate(values, self.inventory)

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
        """Opens again, dearest first, what fits into the rest; then adds bits."""
        return self._add_bits(self._open_again(decision, budget), budget)

    def _open_again(self, decision: Decision, budget: float) -> Decision:
        gates = {path: gate.copy() for path, gate in decision.gates.items()}
        sizes = self._sizes(decision.states)
        size, cost = decision.size, decision.closing_cost
        counts = [self._closed_steps(family, gates) for family in self.families]
        while True:
            best = None
            for i, (family, count) in enumerate(
                zip(self.families, counts, strict=True)
            ):
                if not count or not self._is_open(family, gates):
                    continue
                step_size = _step_sum(family.steps[count - 1], gates, sizes)
                if step_size <= 0 or size + step_size > budget:
                    continue
                worth = family.costs[count - 1] / step_size
                if best is None or worth > best[0]:
                    best = (worth, i)
            if best is None:
                return self._decision(gates, decision.alpha, cost, decision.states)
            family = self.families[best[1]]
            counts[best[1]] -= 1
            for path, units in family.steps[counts[best[1]]]:
                gates[path][units] = 1.0
            cost -= family.costs[counts[best[1]]]
            size = float(self.size_fn(gates, decision.bits))

    @staticmethod
    def _closed_steps(family: Family, gates: Gates) -> int:
        closed = [all((gates[p][u] == 0).all() for p, u in s) for s in family.steps]
        return int(np.sum(closed))

    @staticmethod
    def _is_open(family: Family, gates: Gates) -> bool:
        return all(gates[(*module, SUBLAYER)] > 0 for module in family.modules)

    def _add_bits(self, decision: Decision, budget: float) -> Decision:
        if self.prices is None or decision.states is None:
            return decision
        gates, room = decision.gates, budget - decision.size
        is_open = self.prices.open_units(gates)
        for _ in range(8):  # What tells the states of units takes room, too.
            states = self.prices.raise_to(decision.states, is_open, room)
            raised = self._decision(
                gates, decision.alpha, decision.closing_cost, states
            )
            if raised.size <= budget:
                return raised
            room -= raised.size - budget
        return decision

    def _sizes(self, states: States | None) -> Gates:
        """Returns what closing each unit of each gate takes off."""
        sizes = self.worth(self.whole, None)
        if self.prices is None or states is None:
            return sizes
        num_bytes = {key: self.prices.bytes[key][own] for key, own in states.items()}
        return sizes | by_gate(num_bytes, self.inventory)

    def _decision(
        self, gates: Gates, alpha: float, closing_cost: float, states: States | None
    ) -> Decision:
        bits, rounding_cost = self.bits, 0.0
        if self.prices is not None and states is not None:
            bits = self.prices.bits(states)
            is_open = self.prices.open_units(gates)
            rounding_cost = self.prices.cost(states, is_open) - self.paid
        return Decision(
            gates=gates,
            alpha=alpha,
            predicted_loss_change=float(closing_cost + rounding_cost),
            size=float(self.size_fn(gates, bits)),
            bits=bits,
            states=states,
            closing_cost=float(closing_cost),
        )


def _step_sum(step: tuple, gates: Gates, values: Gates) -> float:
    """Returns the sum of values over the units of a step that are not gone already."""
    return sum(
        float((values[path] * _open_parents(path, gates))[units].sum())
        for path, units in step
    )


def _open_parents(path: Path, gates: Gates) -> np.ndarray:
    """Returns, for each unit of a gate, whether the group it lives in is open."""
    if path[-1] not in NESTED:
        return np.ones(len(gates[path]))
    parent: Any = gates[(*path[:-1], NESTED[path[-1]])]
    return np.asarray(nest(None, parent, len(gates[path])))
