"""Who goes at a price, and the price at which budgets are met.

At prices ``alpha_m`` (nats a target for the whole starting model in measure m) a unit u
goes when

    d_u < sum_m alpha_m * size_m(u) / Size_m(start)

where ``d_u`` is the loss its going costs; with bits to choose (`BitPrices`), the right
side is what the unit costs in its best state. A sublayer is weighed as a whole against
the best that can be made of its parts, and a layer against the best of its sublayers.
A budget is met by the price that is its dual variable, found by bisection on the true
size walk, and a greedy fill; several budgets, by one price each, in turns.

All of it is for one width of the residual stream, at which sizes add up; see
`slimjax.objective.width` for the width.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from slimjax.nn.gates import NESTED, SUBLAYER
from slimjax.objective.decision import BitChoice, Decision, Sizes
from slimjax.objective.inventory import Bits
from slimjax.objective.limits import Limits
from slimjax.objective.precision import States, by_gate
from slimjax.objective.size import SizeFn, unit_sizes
from slimjax.objective.units import Family, Gates, Layer, Units
from slimjax.trees import Path

MAX_ALPHA = 1e12
"""Nats for the whole model; at this price, everything that may go goes."""

MAX_TURNS = 5
"""Turns that each of several prices gets to be found."""

Reopening = tuple[Gates, float, Sizes]
"""Gates that change, the nats that are won back, the sizes that are added."""


class Chooser:
    """Decides at one width of the residual stream; keeps what all prices share."""

    def __init__(
        self,
        units: Units,
        size_fn: SizeFn,
        limits: Limits,
        gates: Gates,
        *,
        spent: float = 0.0,
        bits: Bits | None = None,
        choice: BitChoice | None = None,
    ):
        """Weighs the units.

        Args:
            units: Who can go.
            size_fn: From gates and bits to sizes.
            limits: What must stay.
            gates: 1 and 0, with the width that is asked for.
            spent: Nats that this width costs.
            bits: Bits of all units as they are now.
            choice: That bits are to be chosen.
        """
        self.families, self.sublayers = units.families, units.sublayers
        self.layers, self.limits = units.layers, limits
        self.size_fn, self.gates, self.spent = size_fn, gates, spent
        self.bits, self.choice = bits, choice
        self.paid = choice.prices.cost_of(bits) if choice and bits else 0.0
        weigh = lambda gates: size_fn(gates, bits)
        self.unit_sizes: dict[Path, Sizes] = unit_sizes(weigh, gates)
        self.num_measures = len(weigh(gates))

    def at_price(self, alphas: Sizes, kept: frozenset[Path] = frozenset()) -> Decision:
        """Returns the best decision at a price; the sublayers `kept` stay."""
        gates = {path: gate.copy() for path, gate in self.gates.items()}
        taken, states = [], self._best_states(alphas)
        worth = self._worth(alphas, states)
        for family in self.families:
            prices = _step_sums(family, worth, gates)
            goes = family.costs < prices
            num_steps = len(goes) if goes.all() else int(np.argmin(goes))
            family.close(gates, num_steps)
            taken.append((family.costs[:num_steps].sum(), prices[:num_steps].sum()))
        inner = []
        for sublayer in self.sublayers:
            cost, price = (sum(taken[i][k] for i in sublayer.families) for k in (0, 1))
            left = float(worth[sublayer.path]) - price
            inner.append(cost + left)
        for i in self._choose_sublayers(inner, kept):
            gates[self.sublayers[i].path][...] = 0.0
        return self._decision(gates, alphas, states)

    def _best_states(self, alphas: Sizes) -> States | None:
        if self.choice is None:
            return None
        alpha = float(alphas[self.choice.measure])
        return self.choice.prices.best(alpha, self.choice.whole)

    def _worth(self, alphas: Sizes, states: States | None) -> Gates:
        """Returns the nats that closing each unit of each gate saves at a price."""
        prices = alphas.copy()
        if self.choice is None or states is None:
            return self._weigh(prices)
        prices[self.choice.measure] = 0.0
        alpha, whole = float(alphas[self.choice.measure]), self.choice.whole
        values = self.choice.prices.values(states, alpha, whole)
        return self._with_states(self._weigh(prices), self._weigh(alphas), values)

    def _weigh(self, prices: Sizes) -> Gates:
        """Returns the price of each unit of each gate, as its bits are now."""
        return {
            path: np.full(gate.shape, self.unit_sizes[path] @ prices)
            for path, gate in self.gates.items()
        }

    def _with_states(self, others: Gates, usual: Gates, values: Gates) -> Gates:
        """Returns what units weigh, where states tell their bytes; else `usual`."""
        told = by_gate(values, self.gates)
        return usual | {path: others[path] + own for path, own in told.items()}

    def _sizes_by_measure(self, states: States | None) -> list[Gates]:
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

    def at_budget(self, budget: Sizes) -> Decision | None:
        """Returns the decision of least cost found within a budget, None for none."""
        coarse = self._find_prices(budget, frozenset())
        if coarse is None:
            return None
        above = self.at_price(coarse.alphas * (1 - 2e-6))
        kept = frozenset(s.path for s in self.sublayers if above.gates[s.path] > 0)
        fine = self._find_prices(budget, kept)  # No sublayer goes that need not.
        found = [self._fill(d, budget) for d in (coarse, fine) if d is not None]
        best = min(found, key=lambda decision: decision.rank(budget))
        misses, _ = best.rank(budget)
        swaps = self._swap(best, budget) if misses else ()
        return min((best, *swaps), key=lambda decision: decision.rank(budget))

    def cost(self, gates: Gates) -> float:
        """Returns the nats that all that is closed costs."""
        total = self.spent
        for family in self.families:
            if self._is_open(family, gates):
                total += family.costs[: family.count_closed(gates)].sum()
        for layer in self.layers:
            inside = [self.sublayers[i] for i in layer.sublayers]
            closed = [s.cost for s in inside if gates[s.path] == 0]
            total += layer.cost if len(closed) == len(inside) else sum(closed)
        return float(total)

    def _choose_sublayers(self, inner: list[float], kept: frozenset[Path]) -> set[int]:
        """Returns the sublayers that go, by their number.

        Args:
            inner: For each sublayer that stays, the cost of what goes of it and the
                price of what is left.
            kept: Sublayers that stay.
        """
        gains = [x - s.cost for x, s in zip(inner, self.sublayers, strict=True)]
        closed: set[int] = set()
        bids: list[tuple[float, Layer]] = []
        for layer in self.layers:
            free = [i for i in layer.sublayers if self.sublayers[i].path not in kept]
            goes = {i for i in free if gains[i] > 0 and self.sublayers[i].may_go}
            if len(goes) == len(layer.sublayers):  # One stays, or the layer goes.
                goes.remove(min(goes, key=lambda i: gains[i]))
            closed |= goes
            stays = sum(
                self.sublayers[i].cost if i in goes else inner[i]
                for i in layer.sublayers
            )
            if layer.may_go and len(free) == len(layer.sublayers):
                bids.append((stays - layer.cost, layer))
        bids.sort(key=lambda bid: -bid[0])
        num_free = max(0, len(self.layers) - self.limits.min_layers)
        for gain, layer in bids[:num_free]:
            closed |= set(layer.sublayers) if gain > 0 else set()
        return closed

    def _find_prices(self, budget: Sizes, kept: frozenset[Path]) -> Decision | None:
        """Returns the decision at the least prices that meet a budget.

        Each price in turn is made the least that meets its own budget, the others
        being as they are; in the last turn none falls.
        """
        alphas = np.zeros(self.num_measures)
        decide = lambda: self.at_price(alphas.copy(), kept)
        if (decide().sizes <= budget).all():
            return decide()
        dearest = self.at_price(np.full_like(alphas, MAX_ALPHA), kept)
        if not (dearest.sizes <= budget).all():
            return None
        found: dict[int, Sizes] = {}  # The other prices at which each was found.
        for turn in range(MAX_TURNS * len(alphas)):
            m, is_last = turn % len(alphas), turn // len(alphas) == MAX_TURNS - 1
            others = np.delete(alphas, m)
            if m not in found or not np.array_equal(found[m], others):
                least = alphas[m] if is_last else 0.0
                alphas[m] = self._bisect(alphas, m, budget[m], kept, least)
                found[m] = others
        decision = decide()
        return decision if (decision.sizes <= budget).all() else dearest

    def _bisect(
        self, alphas: Sizes, m: int, budget: float, kept: frozenset[Path], low: float
    ) -> float:
        """Returns the least price of measure `m`, from `low`, that meets a budget."""

        def meets(alpha: float) -> bool:
            prices = alphas.copy()
            prices[m] = alpha
            return self.at_price(prices, kept).sizes[m] <= budget

        if meets(low):
            return low
        high = MAX_ALPHA
        for _ in range(100):
            middle = (low * high) ** 0.5 if low else high * 1e-3
            if middle < 1e-12 or high / max(low, 1e-12) < 1 + 1e-6:
                break
            if meets(middle):
                high = middle
            else:
                low = middle
        return high

    def _fill(self, decision: Decision, budget: Sizes) -> Decision:
        """Opens again, dearest first, what fits into the rest; then adds bits."""
        return self._add_bits(self._open_again(decision, budget), budget)

    def _open_again(self, decision: Decision, budget: Sizes) -> Decision:
        states = decision.states
        gates = {path: gate.copy() for path, gate in decision.gates.items()}
        sizes = decision.sizes
        while True:
            offers = [
                (value / max(float((added / budget).max()), 1e-12), patch)
                for patch, value, added in self._reopenings(gates, sizes, decision)
                if value >= 0 and (sizes + added <= budget).all()
            ]
            for _, patch in sorted(offers, key=lambda offer: -offer[0]):
                larger = self.size_fn({**gates, **patch}, decision.bits)
                if (larger <= budget).all():  # What was added is right but for ends.
                    gates, sizes = {**gates, **patch}, larger
                    break
            else:
                return self._decision(gates, decision.alphas, states)

    def _add_bits(self, decision: Decision, budget: Sizes) -> Decision:
        if self.choice is None or decision.states is None:
            return decision
        prices, m, whole = self.choice.prices, self.choice.measure, self.choice.whole
        gates, room = decision.gates, float(budget[m] - decision.sizes[m]) * whole
        is_open = prices.open_units(gates)
        for _ in range(8):  # What tells the states of units takes room, too.
            states = prices.raise_to(decision.states, is_open, room)
            raised = self._decision(gates, decision.alphas, states)
            if raised.sizes[m] <= budget[m]:
                return raised
            room -= float(raised.sizes[m] - budget[m]) * whole
        return decision

    def _swap(self, decision: Decision, budget: Sizes) -> Iterator[Decision]:
        """Yields decisions in which a unit came back, and smaller ones went for it."""
        states, bits = decision.states, decision.bits
        reopenings = self._reopenings(decision.gates, decision.sizes, decision)
        for patch, _, _ in reopenings:
            gates = {path: gate.copy() for path, gate in decision.gates.items()} | patch
            others = [f for f in self.families if not patch.keys() & f.members.keys()]
            while (self.size_fn(gates, bits) > budget).any():
                weakest = self._weakest_step(others, gates, budget, states)
                if weakest is None:
                    break
                weakest.close(gates, weakest.count_closed(gates) + 1)
            else:
                swapped = self._decision(gates, decision.alphas, states)
                yield self._fill(swapped, budget)

    def _weakest_step(
        self,
        families: list[Family],
        gates: Gates,
        budget: Sizes,
        states: States | None,
    ) -> Family | None:
        """Returns the family whose next step is worth least, None if none is left."""
        weakest, measures = (None, np.inf), self._sizes_by_measure(states)
        for family in families:
            count = family.count_closed(gates)
            if count == len(family.steps) or not self._is_open(family, gates):
                continue
            sizes = _step_sizes(family, measures, gates)[count]
            size = float((sizes / budget).max())
            if size > 0 and family.costs[count] / size < weakest[1]:
                weakest = family, family.costs[count] / size
        return weakest[0]

    def _reopenings(
        self, gates: Gates, sizes: Sizes, decision: Decision
    ) -> Iterator[Reopening]:
        """Yields what may come back next: steps, and sublayers at their least."""
        measures = self._sizes_by_measure(decision.states)
        for family in self.families:
            count = family.count_closed(gates)
            if count and self._is_open(family, gates):
                patch = {path: gates[path].copy() for path, _ in family.steps[0]}
                for path, units in family.steps[count - 1]:
                    patch[path][units] = 1.0
                added = _step_sizes(family, measures, gates)[count - 1]
                yield patch, family.costs[count - 1], added
        for sublayer in self.sublayers:
            if gates[sublayer.path] > 0:
                continue
            patch = {sublayer.path: np.ones(())}
            for family in (self.families[i] for i in sublayer.families):
                patch |= {path: gates[path].copy() for path in family.members}
                family.close(patch, len(family.steps))
            value = self.cost(gates) - self.cost({**gates, **patch})
            larger = self.size_fn({**gates, **patch}, decision.bits)
            yield patch, value, larger - sizes

    @staticmethod
    def _is_open(family: Family, gates: Gates) -> bool:
        wholes = (gates.get((*module, SUBLAYER)) for module in family.modules)
        return all(whole is None or whole > 0 for whole in wholes)

    def _decision(self, gates: Gates, alphas: Sizes, states: States | None) -> Decision:
        bits, cost = self.bits, self.cost(gates)
        if self.choice is not None and states is not None:
            prices = self.choice.prices
            bits = prices.bits(states)
            cost += prices.cost(states, prices.open_units(gates)) - self.paid
        return Decision(gates, alphas, cost, self.size_fn(gates, bits), bits, states)


def _step_sizes(
    family: Family, measures: list[Gates], gates: Gates
) -> Float[np.ndarray, "S M"]:
    """Returns what each step of a family takes off, groups gone not counted."""
    return np.stack([_step_sums(family, sizes, gates) for sizes in measures], axis=1)


def _step_sums(family: Family, values: Gates, gates: Gates) -> Float[np.ndarray, " S"]:
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
