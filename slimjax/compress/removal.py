"""What is lost when inputs of a product go, after the others have taken over.

A product ``y = h W`` reads h with the moment ``A = E[h^T h]``; the loss depends on y
with the moment ``G = sum over positions of d^T d``, d being its gradient. A change E of
the weight costs, to second order,

    tr(E^T A E G) / 2    nats a target.

Without the inputs S, the least of that over the other rows is

    tr(W_S G W_S^T  [A^-1]_SS^-1) / 2,    at    W - A^-1_.S [A^-1]_SS^-1 W_S

and the inverse without S follows from the inverse with it, so that inputs can go one
after the other, and the sum of their costs is the cost of all of them.

References:
    Hassibi and Stork, "Optimal Brain Surgeon", 1993.
    van der Ouderaa et al., "The LLM Surgeon", 2024, section 3 (moments of both sides).
    Kurtic et al., "ZipLM", 2023, section 3 (units, one after the other).
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

DAMPING = 0.002
"""Added to the diagonal of A, as a part of its mean."""

MOST_SETS = 4
"""Groups up to which all sets of them are compared."""


FULLNESS = 0.85
"""Arrays are made anew when less than this part of their inputs stays."""


class Path(NamedTuple):
    """Sets of units that go, the smaller ones first, and what each of them costs.

    Attributes:
        sets: Numbers of the units that go; the first set is empty.
        nats: Nats a target, never falling.
    """

    sets: tuple[np.ndarray, ...]
    nats: np.ndarray


class Removal:
    """A product from which inputs go one after the other.

    Attributes:
        inputs: Numbers of the inputs that are looked at, those that went lately among
            them.
        inverse: ``A^-1`` of those that stay; rows of others are 0.
        rows: ``W L`` of them, ``[I D]``, where ``G = L L^T``.
    """

    def __init__(
        self,
        moment: Float[np.ndarray, "I I"],
        weight: Float[np.ndarray, "I D"],
        slope: Float[np.ndarray, "D D"],
        damping: float = DAMPING,
    ):
        """Inverts A.

        Args:
            moment: A.
            weight: W.
            slope: G.
            damping: Added to the diagonal of A, as a part of its mean.
        """
        self.inputs = np.arange(len(weight))
        self.inverse = np.linalg.inv(damp(moment, damping))
        self.rows = weight.astype(np.float64) @ root(slope)

    def costs(self) -> tuple[np.ndarray, Float[np.ndarray, " I"]]:
        """Returns the inputs that stay, and what each costs if it goes alone."""
        diagonal = np.diag(self.inverse)
        stays = np.flatnonzero(diagonal > 0)
        squares = np.einsum("ID,ID->I", self.rows[stays], self.rows[stays])
        return self.inputs[stays], 0.5 * squares / diagonal[stays]

    def cost_of(self, inputs: np.ndarray) -> float:
        """Returns what some inputs cost if they go together."""
        own = np.searchsorted(self.inputs, inputs)
        block, rows = self.inverse[np.ix_(own, own)], self.rows[own]
        return 0.5 * float(np.sum(rows * np.linalg.solve(block, rows)))

    def remove(self, inputs: np.ndarray) -> float:
        """Removes some inputs, and returns what that cost."""
        own = np.searchsorted(self.inputs, inputs)
        lower = np.linalg.cholesky(self.inverse[np.ix_(own, own)])
        columns = np.linalg.solve(lower, self.inverse[own])
        taken = np.linalg.solve(lower, self.rows[own])
        self.rows -= columns.T @ taken
        self.inverse -= columns.T @ columns
        self.rows[own] = self.inverse[own] = self.inverse[:, own] = 0.0
        stays = np.diag(self.inverse) > 0
        if np.mean(stays) < FULLNESS:
            self.inputs, self.rows = self.inputs[stays], self.rows[stays]
            self.inverse = self.inverse[np.ix_(stays, stays)]
        return 0.5 * float(np.sum(taken * taken))


def remove_units(removal: Removal, blocks: Sequence[int]) -> Path:
    """Returns the path on which single inputs go, the cheapest of those left first.

    Args:
        removal: The product; it is used up.
        blocks: How many inputs go at a time. Inputs of a block are compared as if each
            went alone, so that small blocks choose better.

    Examples:
        >>> removal = Removal(np.eye(3), np.diag([3.0, 1.0, 2.0]), np.eye(3), 0.0)
        >>> path = remove_units(removal, [1, 1])
        >>> [units.tolist() for units in path.sets], path.nats
        ([[], [1], [1, 2]], array([0. , 0.5, 2.5]))
    """
    gone, sets, nats = np.zeros(0, int), [np.zeros(0, int)], [0.0]
    for size in blocks:
        inputs, costs = removal.costs()
        cheapest = np.sort(inputs[np.argsort(costs, kind="stable")[:size]])
        nats.append(nats[-1] + removal.remove(cheapest))
        gone = np.sort(np.append(gone, cheapest))
        sets.append(gone)
    return Path(tuple(sets), np.array(nats))


def remove_groups(removal: Removal, sizes: Sequence[int], num_groups: int) -> Path:
    """Returns the path on which groups of neighbouring inputs go.

    Up to `MOST_SETS` groups the best set of each number of groups is found among all;
    above, the cheapest group that is left goes next.

    Args:
        removal: The product; it may be used up.
        sizes: How many groups go at a time.
        num_groups: Groups of equal numbers of inputs.
    """
    inputs = removal.inputs.reshape(num_groups, -1)
    if num_groups <= MOST_SETS:
        found = [_best_set(removal, inputs, count) for count in np.cumsum(sizes)]
        sets, nats = [np.array(s) for _, s in found], [cost for cost, _ in found]
    else:
        sets, nats = _greedy_sets(removal, inputs, sizes)
    nats = np.maximum.accumulate(np.append(0.0, nats))
    return Path((np.zeros(0, int), *sets), nats)


def _best_set(
    removal: Removal, inputs: np.ndarray, count: int
) -> tuple[float, tuple[int, ...]]:
    candidates = itertools.combinations(range(len(inputs)), count)
    price = lambda groups: removal.cost_of(inputs[list(groups)].reshape(-1))
    return min((price(groups), groups) for groups in candidates)


def _greedy_sets(
    removal: Removal, inputs: np.ndarray, sizes: Sequence[int]
) -> tuple[list[np.ndarray], list[float]]:
    gone, total, sets, nats = [], 0.0, [], []
    for size in sizes:
        left = [i for i in range(len(inputs)) if i not in gone]
        left.sort(key=lambda i: removal.cost_of(inputs[i]))
        total += removal.remove(np.sort(inputs[left[:size]].reshape(-1)))
        gone += left[:size]
        sets.append(np.sort(gone))
        nats.append(total)
    return sets, nats


def damp(moment: Float[np.ndarray, "I I"], part: float) -> Float[np.ndarray, "I I"]:
    """Returns a moment, float64, with a part of its mean diagonal on the diagonal."""
    moment = np.asarray(moment, np.float64)
    return moment + (part * mean_square(moment) + 1e-12) * np.eye(len(moment))


def shrink(moment: Float[np.ndarray, "I I"], count: float) -> Float[np.ndarray, "I I"]:
    """Returns a moment from few samples, drawn towards its diagonal.

    Of fewer samples than it has rows a moment is singular, and what seems to cost
    nothing does.

    Args:
        moment: The moment.
        count: Number of independent samples.

    References:
        Ledoit and Wolf, "A Well-Conditioned Estimator for Large-Dimensional Covariance
        Matrices", 2004 (a moment and a plain matrix, weighted by the samples).

    Examples:
        >>> shrink(np.array([[1.0, 1.0], [1.0, 1.0]]), count=2)
        array([[1. , 0.5],
               [0.5, 1. ]])
    """
    part = len(moment) / (len(moment) + count)
    return (1 - part) * moment + part * np.diag(np.diag(moment))


def mean_square(moment: Float[np.ndarray, "I I"]) -> float:
    """Returns the mean of the diagonal of a moment, over inputs that are ever used.

    Examples:
        >>> mean_square(np.diag([3.0, 1.0, 0.0]))
        2.0
    """
    diagonal = np.diag(moment)
    return float(diagonal.sum() / max(np.count_nonzero(diagonal), 1))


def root(slope: Float[np.ndarray, "D D"]) -> Float[np.ndarray, "D D"]:
    """Returns L with ``slope = L L^T``, of a matrix that may be singular.

    Examples:
        >>> root(np.diag([4.0, 0.0]))
        array([[0., 2.],
               [0., 0.]])
    """
    values, vectors = np.linalg.eigh(np.asarray(slope, np.float64))
    return vectors * np.sqrt(np.maximum(values, 0.0))
