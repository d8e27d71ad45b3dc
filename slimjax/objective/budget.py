"""Who goes at a price, and the price at which budgets are met.

At prices ``alpha_m`` (nats a target for the whole starting model in measure m) a unit u
goes when

    d_u < sum_m alpha_m * size_m(u) / Size_m(start)

where ``d_u`` is the loss its going costs. A sublayer is weighed as a whole against the
best that can be made of its parts, and a layer against the best of its sublayers. A
budget is met by the price that is its dual variable, found by bisection on the true
size walk, and a greedy fill; several budgets, by one price each, in turns.

All of it is for one width of the residual stream, at which sizes add up; see
`slimjax.objective.width` for the width.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from slimjax.nn.gates import NESTED, SUBLAYER
from slimjax.objective.limits import Limits
from slimjax.objective.size import SizeFn, unit_sizes
from slimjax.objective.units import Family, Gates, Layer, Units
from slimjax.trees import Path

MAX_ALPHA = 1e12
"""Nats for the whole model; at this price, everything that may go goes."""

TOLERANCE = 0.01
"""The part of a budget that may be left over for want of smaller units."""

MAX_TURNS = 5
"""Turns that each of several prices gets to be found."""

Sizes = Float[np.ndarray, " M"]
"""Sizes in M measures, each as a part of the size at the start."""

Reopening = tuple[Gates, float, Sizes]
"""Gates that change, the nats that are won back, the sizes that are added."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What stays, and what it is said to cost.

    Attributes:
        gates: 1 for what stays, 0 for what goes.
        alphas: The price of each measure, nats for the whole starting model.
        predicted_loss_change: Sum of the costs of all that goes, nats a target.
        sizes: Sizes of what stays, as parts of the start's.
    """

    gates: Gates
    alphas: Sizes
    predicted_loss_change: float
    sizes: Sizes

    @property
    def alpha(self) -> float:
        """The price of the whole starting model, in all measures together."""
        return float(self.alphas.sum())

    @property
    def complexity(self) -> float:
        """The loss change and the price of what stays, nats a target."""
        return self.predicted_loss_change + float(self.alphas @ self.sizes)

    def rank(self, budget: Sizes) -> tuple[float, float]:
        """Returns what tells the better of two decisions, the smaller one.

        First comes by how much more than a hundredth the nearest budget is missed;
        among those that make use of it the predicted loss counts.
        """
        missed = 1 - float((self.sizes / budget).max())
        return max(missed - TOLERANCE, 0.0), self.predicted_loss_change


def part_of(sizes: list[tuple[SizeFn, float]]) -> SizeFn:
    """Returns the function from gates to sizes as parts of those at the start.

    Args:
        sizes: For each measure, its size function and the size at the start.
    """
    return lambda gates: np.array([float(fn(gates)) / whole for fn, whole in sizes])


class Chooser:
    """Decides at one width of the residual stream; keeps what all prices share."""

    def __init__(
        self, units: Units, size_fn: SizeFn, limits: Limits, gates: Gates, spent: float
    ):
        """Weighs the units.

        Args:
            units: Who can go.
            size_fn: From gates to sizes.
            limits: What must stay.
            gates: 1 and 0, with the width that is asked for.
            spent: Nats that this width costs.
        """
        self.families, self.sublayers = units.families, units.sublayers
        self.layers, self.limits = units.layers, limits
        self.size_fn, self.gates, self.spent = size_fn, gates, spent
        self.unit_sizes: dict[Path, Sizes] = unit_sizes(size_fn, gates)
        self.num_measures = len(size_fn(gates))

    def at_price(self, alphas: Sizes, kept: frozenset[Path] = frozenset()) -> Decision:
        """Returns the best decision at a price; the sublayers `kept` stay."""
        gates = {path: gate.copy() for path, gate in self.gates.items()}
        taken = []
        for family in self.families:
            prices = self.step_sizes(family, gates) @ alphas
            goes = family.costs < prices
            num_steps = len(goes) if goes.all() else int(np.argmin(goes))
            family.close(gates, num_steps)
            taken.append((family.costs[:num_steps].sum(), prices[:num_steps].sum()))
        inner = []
        for sublayer in self.sublayers:
            cost, price = (sum(taken[i][k] for i in sublayer.families) for k in (0, 1))
            left = float(self.unit_sizes[sublayer.path] @ alphas) - price
            inner.append(cost + left)
        for i in self._choose_sublayers(inner, kept):
            gates[self.sublayers[i].path][...] = 0.0
        return self._decision(gates, alphas)

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

    def step_sizes(self, family: Family, gates: Gates) -> Float[np.ndarray, "S M"]:
        """Returns what each step of a family takes off, groups gone not counted."""
        sizes = np.zeros((len(family.steps), self.num_measures))
        for path, counts in family.counts.items():
            is_open = _open_parents(path, gates)
            sizes += counts[:, None] * self.unit_sizes[path][None] * is_open
        return sizes

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
        """Opens again, dearest first, what fits into the rest of a budget."""
        gates = {path: gate.copy() for path, gate in decision.gates.items()}
        sizes = decision.sizes
        while True:
            best = None
            for patch, value, added in self._reopenings(gates, sizes):
                if value < 0 or (sizes + added > budget).any():
                    continue
                worth = value / max(float((added / budget).max()), 1e-12)
                if best is None or worth > best[0]:
                    best = (worth, patch)
            if best is None:
                return self._decision(gates, decision.alphas)
            gates |= best[1]
            sizes = self.size_fn(gates)

    def _swap(self, decision: Decision, budget: Sizes) -> Iterator[Decision]:
        """Yields decisions in which a unit came back, and smaller ones went for it."""
        for patch, _, _ in self._reopenings(decision.gates, decision.sizes):
            gates = {path: gate.copy() for path, gate in decision.gates.items()} | patch
            others = [f for f in self.families if not patch.keys() & f.counts.keys()]
            while (self.size_fn(gates) > budget).any():
                weakest = self._weakest_step(others, gates, budget)
                if weakest is None:
                    break
                weakest.close(gates, weakest.count_closed(gates) + 1)
            else:
                yield self._fill(self._decision(gates, decision.alphas), budget)

    def _weakest_step(
        self, families: list[Family], gates: Gates, budget: Sizes
    ) -> Family | None:
        """Returns the family whose next step is worth least, None if none is left."""
        weakest = None, np.inf
        for family in families:
            count = family.count_closed(gates)
            if count == len(family.steps) or not self._is_open(family, gates):
                continue
            size = float((self.step_sizes(family, gates)[count] / budget).max())
            if size > 0 and family.costs[count] / size < weakest[1]:
                weakest = family, family.costs[count] / size
        return weakest[0]

    def _reopenings(self, gates: Gates, sizes: Sizes) -> Iterator[Reopening]:
        """Yields what may come back next: steps, and sublayers at their least."""
        for family in self.families:
            count = family.count_closed(gates)
            if count and self._is_open(family, gates):
                patch = {path: gates[path].copy() for path, _ in family.steps[0]}
                for path, units in family.steps[count - 1]:
                    patch[path][units] = 1.0
                added = self.step_sizes(family, gates)[count - 1]
                yield patch, family.costs[count - 1], added
        for sublayer in self.sublayers:
            if gates[sublayer.path] > 0:
                continue
            patch = {sublayer.path: np.ones(())}
            for family in (self.families[i] for i in sublayer.families):
                patch |= {path: gates[path].copy() for path in family.counts}
                family.close(patch, len(family.steps))
            value = self.cost(gates) - self.cost({**gates, **patch})
            yield patch, value, self.size_fn({**gates, **patch}) - sizes

    @staticmethod
    def _is_open(family: Family, gates: Gates) -> bool:
        wholes = (gates.get((*module, SUBLAYER)) for module in family.modules)
        return all(whole is None or whole > 0 for whole in wholes)

    def _decision(self, gates: Gates, alphas: Sizes) -> Decision:
        return Decision(gates, alphas, self.cost(gates), self.size_fn(gates))


def _open_parents(path: Path, gates: Gates) -> float:
    """Returns the part of the groups that a gate's units live in that is open.

    Each step takes as many units from one group as from another.
    """
    if path[-1] not in NESTED:
        return 1.0
    return float(np.mean(gates[(*path[:-1], NESTED[path[-1]])]))
