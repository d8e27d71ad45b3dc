"""The least loss within a budget: one offer is taken of each list.

A list has all that may be made of one part of a model, such as an MLP with so many
units and so many bits: what it costs, and how large it is. Parts add up, in nats and in
size, so that the best choice is found exactly, on a grid of sizes; the curves need not
be convex. What the grid leaves over is used up afterwards, the best gain for its size
first.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

GRID = 20_000
"""Parts into which a budget is divided; sizes are rounded to whole parts."""


class Offers(NamedTuple):
    """What may be made of one part of a model.

    Attributes:
        nats: What each offer costs, nats a target.
        sizes: How large each is, in the measure of the budget.
    """

    nats: Float[np.ndarray, " K"]
    sizes: Float[np.ndarray, " K"]


def choose(
    lists: Sequence[Offers], budget: float, grid: int = GRID
) -> list[int] | None:
    """Returns the offer of each list with which all together cost least.

    Args:
        lists: The offers.
        budget: Largest sum of their sizes.
        grid: Parts into which the budget is divided.

    Returns:
        Numbers of the offers; None if even the smallest ones are too large.

    Examples:
        >>> one = Offers(np.array([0.0, 1.0, 5.0]), np.array([3.0, 2.0, 0.0]))
        >>> two = Offers(np.array([0.0, 2.0]), np.array([2.0, 1.0]))
        >>> choose([one, two], budget=4.0), choose([one, two], budget=2.0)
        ([1, 0], [2, 0])
        >>> choose([one, two], budget=0.5) is None
        True
    """
    least = [int(np.argmin(offers.sizes)) for offers in lists]
    floor = np.array([o.sizes[k] for o, k in zip(lists, least, strict=True)])
    room = budget - float(floor.sum())
    if room < -1e-9 * abs(budget):
        return None
    if room <= 0:
        return least
    spare = [o.sizes - size for o, size in zip(lists, floor, strict=True)]
    unit, capacity = room / grid, grid
    parts = [_parts(sizes, unit, grid) for sizes in spare]
    used = lambda numbers: sum(s[k] for s, k in zip(spare, numbers, strict=True))
    while True:
        chosen = _solve([offers.nats for offers in lists], parts, capacity)
        excess = used(chosen) - room
        if excess <= 1e-12 * abs(budget):
            return _use_up(lists, chosen, -excess)
        capacity -= max(1, math.ceil(excess / unit))


def best_offers(nats: np.ndarray, sizes: np.ndarray, grain: float) -> np.ndarray:
    """Returns the numbers of offers that none beats in both cost and size.

    Args:
        nats: What each offer costs.
        sizes: How large each is.
        grain: Of offers whose sizes are in the same multiple of it, one is kept.

    Examples:
        >>> nats, sizes = np.array([0.0, 2.0, 1.0, 3.0]), np.array([9.0, 5, 4, 1])
        >>> best_offers(nats, sizes, grain=0.1).tolist()
        [0, 2, 3]
    """
    order = np.lexsort((sizes, nats))
    least = np.minimum.accumulate(sizes[order])
    is_smaller = np.append(True, least[1:] < least[:-1])
    kept = order[is_smaller]
    cells = np.floor(sizes[kept] / grain)
    is_new = np.append(True, cells[1:] != cells[:-1])
    is_new[-1] = True
    return np.sort(kept[is_new])


def _parts(sizes: np.ndarray, unit: float, grid: int) -> np.ndarray:
    """Returns sizes in parts of the grid, or ``grid + 1`` if they are larger."""
    return np.round(np.minimum(sizes / unit, grid + 1)).astype(int)


def _solve(
    nats: Sequence[np.ndarray], parts: Sequence[np.ndarray], grid: int
) -> list[int]:
    """Returns the best offers, by dynamic programming over the parts of the grid."""
    least, taken = np.zeros(grid + 1), []
    for own_nats, own_parts in zip(nats, parts, strict=True):
        best, which = np.full(grid + 1, np.inf), np.zeros(grid + 1, np.int32)
        for k in np.argsort(own_parts, kind="stable"):
            size = own_parts[k]
            if size > grid:
                continue
            costs = least[: grid + 1 - size] + own_nats[k]
            is_better = costs < best[size:]
            best[size:][is_better] = costs[is_better]
            which[size:][is_better] = k
        least = best
        taken.append(which)
    left, chosen = grid, []
    for which, own_parts in zip(reversed(taken), reversed(parts), strict=True):
        chosen.append(int(which[left]))
        left -= own_parts[chosen[-1]]
    return chosen[::-1]


def _use_up(lists: Sequence[Offers], chosen: list[int], room: float) -> list[int]:
    """Takes larger offers instead, as long as one fits into the room that is left."""
    while True:
        best, swap = 0.0, None
        for i, (offers, k) in enumerate(zip(lists, chosen, strict=True)):
            added = offers.sizes - offers.sizes[k]
            gains = offers.nats[k] - offers.nats
            fits = (added > 0) & (added <= room) & (gains >= 0)
            rates = np.where(fits, (gains + 1e-30) / np.where(fits, added, 1.0), 0.0)
            if rates.max(initial=0.0) > best:
                best, swap = float(rates.max()), (i, int(rates.argmax()))
        if swap is None:
            return chosen
        i, k = swap
        room -= float(lists[i].sizes[k] - lists[i].sizes[chosen[i]])
        chosen[i] = k
