"""What removal costs and what it saves, at one width of the residual streams.

At one width sizes add up: each unit weighs the same, whatever else is removed (but for
knees of latency, and a few bytes in a file). With bits to choose, what a unit weighs
follows from its state, and a narrower stream makes every state of it lighter.
"""

from hashlib import blake2b

import numpy as np
from jaxtyping import Float

from slimjax.budget.bits import States, by_gate
from slimjax.budget.decision import BitChoice, Decision, Sizes
from slimjax.budget.units import Family, Gates, Units
from slimjax.nn.gates import NESTED, SUBLAYER
from slimjax.objective.inventory import Bits
from slimjax.objective.size import SizeFn, unit_sizes
from slimjax.trees import Path


class Ledger:
    """Holds the costs, savings and sizes of all units.

    Attributes:
        units: What can be removed.
        size_fn: From gates and bits to sizes.
        gates: 1 and 0, with the width that is asked for.
        bits: Bits of all units as they are now.
        choice: That bits are to be chosen, with the bytes of states at this width.
    """

    def __init__(
        self,
        units: Units,
        size_fn: SizeFn,
        gates: Gates,
        *,
        spent: float = 0.0,
        bits: Bits | None = None,
        choice: BitChoice | None = None,
    ):
        """Weighs the units.

        Args:
            units: What can be removed.
            size_fn: From gates and bits to sizes.
            gates: 1 and 0, with the width that is asked for.
            spent: Nats that this width costs.
            bits: Bits of all units as they are now.
            choice: That bits are to be chosen.
        """
        self.units, self.size_fn, self.gates = units, size_fn, gates
        self.bits, self.choice = bits, choice
        self._spent = spent
        self._known: dict[bytes, Sizes] = {}
        self._paid = choice.prices.cost_of(bits) if choice and bits else 0.0
        weigh = lambda gates: size_fn(gates, bits)
        self._unit_sizes: dict[Path, Sizes] = unit_sizes(weigh, gates)
        self.num_measures = len(weigh(gates))

    def best_states(self, alphas: Sizes) -> States | None:
        """Returns the best state of each unit at a price, None without a choice."""
        if self.choice is None:
            return None
        alpha = float(alphas[self.choice.measure])
        return self.choice.prices.best(alpha, self.choice.whole)

    def savings(self, alphas: Sizes, states: States | None) -> Gates:
        """Returns the nats that closing each unit of each gate saves at a price."""
        prices = alphas.copy()
        if self.choice is None or states is None:
            return self._weigh(prices)
        prices[self.choice.measure] = 0.0
        alpha, whole = float(alphas[self.choice.measure]), self.choice.whole
        values = self.choice.prices.values(states, alpha, whole)
        return self._with_states(self._weigh(prices), self._weigh(alphas), values)

    def sizes_by_measure(self, states: States | None) -> list[Gates]:
        """Returns what each unit of each gate takes off, for each measure."""
        measures = [self._weigh(one) for one in np.eye(self.num_measures)]
        choice = self.choice
        if choice is not None and states is not None:
            values = {
                key: choice.prices.bytes[key][own] / choice.whole
                for key, own in states.items()
            }
            nothing, m = self._weigh(np.zeros(self.num_measures)), choice.measure
            measures[m] = self._with_states(nothing, measures[m], values)
        return measures

    def cost(self, gates: Gates) -> float:
        """Returns the nats that all that is closed costs."""
        total = self._spent
        for family in self.units.families:
            if is_open(family, gates):
                total += family.costs[: family.count_closed(gates)].sum()
        for layer in self.units.layers:
            inside = [self.units.sublayers[i] for i in layer.sublayers]
            closed = [s.cost for s in inside if gates[s.path] == 0]
            total += layer.cost if len(closed) == len(inside) else sum(closed)
        return float(total)

    def decide(self, gates: Gates, alphas: Sizes, states: States | None) -> Decision:
        """Returns the decision for gates and states, with what it costs and leaves."""
        cost = self.cost(gates)
        if self.choice is not None and states is not None:
            prices = self.choice.prices
            cost += prices.cost(states, prices.open_units(gates)) - self._paid
        sizes, bits = self.sizes(gates, states), self._bits(states)
        return Decision(gates, alphas, cost, sizes, bits, states)

    def sizes(self, gates: Gates, states: States | None) -> Sizes:
        """Returns the size in each measure; a search comes back to the same often."""
        arrays = [*gates.values(), *(states or {}).values()]
        key = blake2b(b"".join(array.tobytes() for array in arrays)).digest()
        if key not in self._known:
            self._known[key] = self.size_fn(gates, self._bits(states))
        return self._known[key]

    def _bits(self, states: States | None) -> Bits | None:
        if self.choice is None or states is None:
            return self.bits
        return self.choice.prices.bits(states)

    def _weigh(self, prices: Sizes) -> Gates:
        """Returns the price of each unit of each gate, as its bits are now."""
        return {
            path: np.full(gate.shape, self._unit_sizes[path] @ prices)
            for path, gate in self.gates.items()
        }

    def _with_states(self, others: Gates, usual: Gates, values: Gates) -> Gates:
        """Returns what units weigh, where states tell their bytes; else `usual`."""
        told = by_gate(values, self.gates)
        return usual | {path: others[path] + own for path, own in told.items()}


def is_open(family: Family, gates: Gates) -> bool:
    """Whether the modules that a family stands in are there."""
    wholes = (gates.get((*module, SUBLAYER)) for module in family.modules)
    return all(whole is None or whole > 0 for whole in wholes)


def step_sizes(
    family: Family, measures: list[Gates], gates: Gates
) -> Float[np.ndarray, "S M"]:
    """Returns what each step of a family takes off, groups gone not counted."""
    return np.stack([step_sums(family, sizes, gates) for sizes in measures], axis=1)


def step_sums(family: Family, values: Gates, gates: Gates) -> Float[np.ndarray, " S"]:
    """Returns the sums of values over the units of each step that are not gone."""
    sums = np.zeros(len(family.steps))
    for path, (steps, units) in family.members.items():
        own = (values[path] * _open_parents(path, gates))[units]
        sums += np.bincount(steps, own, minlength=len(sums))
    return sums


def _open_parents(path: Path, gates: Gates) -> np.ndarray:
    """Returns, for each unit of a gate, whether the group it lives in is open."""
    if path[-1] not in NESTED:
        return np.ones(len(gates[path]))
    parent = gates[(*path[:-1], NESTED[path[-1]])]
    return parent.repeat(len(gates[path]) // len(parent))
