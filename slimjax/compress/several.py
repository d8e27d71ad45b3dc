"""The least loss within several budgets at once, such as bytes and FLOPs.

Each measure has a price w_m, and all together have one budget:

    sum over m of w_m size_m / budget_m <= 1,    sum over m of w_m = 1

Whatever is within all budgets is within this one. So a best choice within it that is
within all of them is the best one there is; else the price of the measures that are
exceeded rises. At last the sum is lowered until all budgets are kept to, and what is
left over is used up.

References:
    Glover, "Surrogate constraints", 1968 (one constraint in place of several).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from slimjax.compress.knapsack import GRID, Offers, choose
from slimjax.compress.offers import MAX_TRIES, Catalogue, Choice

NUM_PRICES = 12
"""Prices that are tried, and then sums."""

COARSE = 10
"""The grid is coarser by this factor while prices are sought."""

RATE = 8.0
"""How fast the price of a measure follows what exceeds its budget."""


class Part(NamedTuple):
    """What may be made of one part of a model.

    Attributes:
        nats: What each offer costs, ``[K]``.
        sizes: How large each is in each measure, in its budget, ``[M K]``.
    """

    nats: np.ndarray
    sizes: np.ndarray


def choose_within_all(parts: Sequence[Part]) -> list[int] | None:
    """Returns the offer of each part with which all together cost least.

    Args:
        parts: The parts; their sizes may add up to 1 in each measure.

    Returns:
        Numbers of the offers; None if no choice is within all budgets.

    Examples:
        >>> offers = Part(np.array([0.0, 1.0, 3.0]), np.array([[0.6, 0.5, 0.1]] * 2))
        >>> choose_within_all([offers, offers])
        [1, 1]
    """
    num_measures = len(parts[0].sizes)
    prices, found = np.full(num_measures, 1 / num_measures), []
    for _ in range(NUM_PRICES if num_measures > 1 else 1):
        numbers = _choose_by(parts, prices, 1.0, GRID // COARSE)
        if numbers is None:
            return None
        used = _add_up(parts, numbers)
        found.append((float(used.max()), prices))
        if used.max() <= 1 and np.ptp(used) < 1 / GRID:
            break
        prices = prices * np.exp(np.clip(RATE * (used - used.mean()), -3, 3))
        prices = np.maximum(prices / prices.sum(), 1e-4)
    numbers = _lower(parts, min(found, key=lambda pair: pair[0])[1])
    return None if numbers is None else _use_up(parts, numbers)


def _choose_by(
    parts: Sequence[Part], prices: np.ndarray, budget: float, grid: int
) -> list[int] | None:
    """Returns the best choice within one budget, which sizes share by their prices."""
    lists = [Offers(part.nats, prices @ part.sizes) for part in parts]
    return choose(lists, budget, grid)


def _lower(parts: Sequence[Part], prices: np.ndarray) -> list[int] | None:
    """Returns the best choice within all budgets, as the sum of sizes is lowered."""
    best = _smallest(parts)
    low, high = 0.0, 1.0
    for step in range(NUM_PRICES):
        budget = high if step == 0 else (low + high) / 2
        numbers = _choose_by(parts, prices, budget, GRID)
        if numbers is not None and _add_up(parts, numbers).max() <= 1:
            low = budget
            if best is None or _nats(parts, numbers) <= _nats(parts, best):
                best = numbers
        else:
            high = budget
        if low == 1.0:
            break
    return best


def _smallest(parts: Sequence[Part]) -> list[int] | None:
    """Returns the smallest choice, if it is within all budgets."""
    numbers = [int(np.argmin(part.sizes.max(0))) for part in parts]
    return numbers if _add_up(parts, numbers).max() <= 1 else None


def _add_up(parts: Sequence[Part], numbers: Sequence[int]) -> np.ndarray:
    pairs = zip(parts, numbers, strict=True)
    return np.sum([part.sizes[:, k] for part, k in pairs], axis=0)


def _nats(parts: Sequence[Part], numbers: Sequence[int]) -> float:
    return sum(float(p.nats[k]) for p, k in zip(parts, numbers, strict=True))


def _use_up(parts: Sequence[Part], numbers: list[int]) -> list[int]:
    """Takes other offers instead, as long as one costs less and fits."""
    while True:
        room = 1 - _add_up(parts, numbers)
        best, swap = 0.0, None
        for i, (part, k) in enumerate(zip(parts, numbers, strict=True)):
            added = part.sizes - part.sizes[:, k : k + 1]
            gains = part.nats[k] - part.nats
            fits = (added <= room[:, None]).all(0) & (gains > 0)
            rates = np.where(fits, gains / np.maximum(added.max(0), 1e-12), 0.0)
            if rates.max() > best:
                best, swap = float(rates.max()), (i, int(rates.argmax()))
        if swap is None:
            return numbers
        numbers = [swap[1] if i == swap[0] else k for i, k in enumerate(numbers)]


class Catalogues:
    """The offers of one model, in each of several measures.

    Attributes:
        by_measure: The same offers, weighed in each measure.
    """

    def __init__(self, by_measure: Mapping[str, Catalogue]):
        """Takes the offers.

        Args:
            by_measure: See the attribute; there is at least one. With several, all
                offers are kept in each, so that they are the same.
        """
        self.by_measure = dict(by_measure)

    @property
    def first(self) -> Catalogue:
        """The offers in the first measure."""
        return next(iter(self.by_measure.values()))

    def choose(self, limits: Mapping[str, float]) -> Choice | None:
        """Returns the choice of least cost within all limits; None if there is none.

        Args:
            limits: Largest size in each measure.
        """
        if len(limits) == 1:
            return self.first.choose(*limits.values())
        rooms = {
            name: limits[name] - own.start - sum(_smallest_sizes(own))
            for name, own in self.by_measure.items()
        }
        for _ in range(MAX_TRIES):
            if min(rooms.values()) < 0:
                return None
            rooms = {n: max(room, 1e-9 * limits[n]) for n, room in rooms.items()}
            numbers = choose_within_all(self._parts(rooms))
            if numbers is None:
                return None
            choice = self.first.describe(numbers)
            over = {n: size - limits[n] for n, size in self.sizes(choice).items()}
            if max(over.values()) <= 0:
                return choice
            rooms = {n: room - max(over[n], 0.0) for n, room in rooms.items()}
        return None

    def sizes(self, choice: Choice) -> dict[str, float]:
        """Returns the size of a choice in each measure."""
        return {
            name: float(own.size_fn(choice.gates, choice.bits))
            for name, own in self.by_measure.items()
        }

    def least(self) -> dict[str, float]:
        """Returns the size of the smallest choice in each measure."""
        return {name: own.least() for name, own in self.by_measure.items()}

    def _parts(self, rooms: Mapping[str, float]) -> list[Part]:
        sizes = [
            [(y.offers.sizes - y.offers.sizes.min()) / rooms[name] for y in own.lists]
            for name, own in self.by_measure.items()
        ]
        together = zip(self.first.lists, zip(*sizes, strict=True), strict=True)
        return [Part(part.offers.nats, np.stack(own)) for part, own in together]


def _smallest_sizes(catalogue: Catalogue) -> list[float]:
    """Returns the size of the smallest offer of each list."""
    return [float(part.offers.sizes.min()) for part in catalogue.lists]
