"""What is removed at a price, and the price at which budgets are met.

At prices ``alpha_m`` (nats a target for the whole starting model in measure m) a unit u
is removed when

    d_u < sum_m alpha_m * size_m(u) / Size_m(start)

where ``d_u`` is the loss its removal costs; with bits to choose (`BitPrices`), the
right side is what the unit costs in its best state. A sublayer is weighed as a whole
against the best that can be made of its parts, and a layer against the best of its
sublayers.
A budget is met by the price that is its dual variable, found by bisection on the true
size walk, and a greedy fill (`slimjax.budget.fill`); several budgets, by one price
each, in turns.

All of it is for one width of the residual stream, at which sizes add up; see
`slimjax.budget.width` for the width.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable

import numpy as np

from slimjax.budget.bits import States
from slimjax.budget.decision import Decision, Sizes
from slimjax.budget.fill import fill
from slimjax.budget.ledger import Ledger, step_sums
from slimjax.budget.limits import Limits
from slimjax.budget.swap import swap_cheap
from slimjax.budget.units import Gates, Layer
from slimjax.trees import Path

MAX_ALPHA = 1e12
"""Nats for the whole model; at this price, everything that may be removed is."""

MAX_TURNS = 5
"""Turns that each of several prices gets to be found."""


class Chooser:
    """Decides at one width of the residual stream."""

    def __init__(self, ledger: Ledger, limits: Limits):
        """Takes what units cost and weigh there, and what must stay."""
        self.ledger, self.limits = ledger, limits

    def at_price(self, alphas: Sizes, kept: frozenset[Path] = frozenset()) -> Decision:
        """Returns the best decision at a price; the sublayers `kept` stay."""
        gates, states = self._choose(alphas, kept)
        return self.ledger.decide(gates, alphas, states)

    def at_budget(self, budget: Sizes) -> Decision | None:
        """Returns the decision of least cost found within a budget, None for none."""
        coarse = self._find_prices(budget, frozenset())
        if coarse is None:
            return None
        above = self.at_price(coarse.alphas * (1 - 2e-6))
        wholes = (sublayer.path for sublayer in self.ledger.units.sublayers)
        kept = frozenset(path for path in wholes if above.gates[path] > 0)
        fine = self._find_prices(budget, kept)  # No sublayer is removed without need.
        found = [fill(self.ledger, d, budget) for d in (coarse, fine) if d is not None]
        best = min(found, key=lambda decision: decision.rank(budget))
        misses, _ = best.rank(budget)
        swaps = swap_cheap(self.ledger, best, budget) if misses else ()
        return min((best, *swaps), key=lambda decision: decision.rank(budget))

    def _choose(
        self, alphas: Sizes, kept: frozenset[Path]
    ) -> tuple[Gates, States | None]:
        """Returns the best gates and states at a price."""
        ledger, units = self.ledger, self.ledger.units
        gates = {path: gate.copy() for path, gate in ledger.gates.items()}
        taken, states = [], ledger.best_states(alphas)
        savings = ledger.savings(alphas, states)
        for family in units.families:
            prices = step_sums(family, savings, gates)
            removed = family.costs < prices
            num_steps = len(removed) if removed.all() else int(np.argmin(removed))
            family.close(gates, num_steps)
            taken.append((family.costs[:num_steps].sum(), prices[:num_steps].sum()))
        inner = []
        for sublayer in units.sublayers:
            cost, price = (sum(taken[i][k] for i in sublayer.families) for k in (0, 1))
            left = float(savings[sublayer.path]) - price
            inner.append(cost + left)
        for i in self._choose_sublayers(inner, kept):
            gates[units.sublayers[i].path][...] = 0.0
        return gates, states

    def _choose_sublayers(self, inner: list[float], kept: frozenset[Path]) -> set[int]:
        """Returns the sublayers that go, by their number.

        Args:
            inner: For each sublayer that stays, the cost of what is removed of it, and
                the price of what is left.
            kept: Sublayers that stay.
        """
        sublayers, layers = self.ledger.units.sublayers, self.ledger.units.layers
        gains = [x - s.cost for x, s in zip(inner, sublayers, strict=True)]
        closed: set[int] = set()
        bids: list[tuple[float, Layer]] = []
        for layer in layers:
            free = [i for i in layer.sublayers if sublayers[i].path not in kept]
            removed = {i for i in free if gains[i] > 0 and sublayers[i].is_removable}
            if layer.tower is None:
                closed |= removed
                continue
            if len(removed) == len(layer.sublayers):  # One stays, or all go.
                removed.remove(min(removed, key=lambda i: gains[i]))
            closed |= removed
            stays = sum(
                sublayers[i].cost if i in removed else inner[i] for i in layer.sublayers
            )
            if layer.is_removable and len(free) == len(layer.sublayers):
                bids.append((stays - layer.cost, layer))
        bids.sort(key=lambda bid: -bid[0])
        for tower, num_layers in Counter(layer.tower for layer in layers).items():
            num_free = max(0, num_layers - self.limits.min_layers)
            own = [bid for bid in bids if bid[1].tower == tower]
            for gain, layer in own[:num_free]:
                closed |= set(layer.sublayers) if gain > 0 else set()
        return closed

    def _find_prices(self, budget: Sizes, kept: frozenset[Path]) -> Decision | None:
        """Returns the decision at the least prices that meet a budget.

        Each price in turn is made the least that meets its own budget, the others
        being as they are; in the last turn none falls. A higher price in one measure
        may leave more in another, so prices need not settle. Then all is closed that
        may be, to be filled again, and prices are a multiple of what was found.
        """
        alphas = np.zeros(self.ledger.num_measures)
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
        if (decision.sizes <= budget).all():
            return decision
        prices = self._raise(alphas, budget, kept)
        return dataclasses.replace(dearest, alphas=prices)

    def _raise(self, alphas: Sizes, budget: Sizes, kept: frozenset[Path]) -> Sizes:
        """Returns the least multiple of prices that meets all budgets.

        Where there is none, it is the least price that is the same in all measures.
        """

        def meets(prices: Sizes) -> bool:
            sizes = self.ledger.sizes(*self._choose(prices, kept))
            return bool((sizes <= budget).all())

        highest, alike = alphas.max(), np.ones_like(alphas)
        ratios = alphas / highest
        raised = ratios * _find_least(lambda price: meets(price * ratios), highest)
        if meets(raised):
            return raised
        return alike * _find_least(lambda price: meets(price * alike), highest)

    def _bisect(
        self, alphas: Sizes, m: int, budget: float, kept: frozenset[Path], low: float
    ) -> float:
        """Returns the least price of measure `m`, from `low`, that meets a budget."""

        def meets(alpha: float) -> bool:
            prices = alphas.copy()
            prices[m] = alpha
            return bool(self.ledger.sizes(*self._choose(prices, kept))[m] <= budget)

        return _find_least(meets, low)


def _find_least(meets: Callable[[float], bool], low: float) -> float:
    """Returns the least price from `low` that meets something, or the highest."""
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
