"""All that may be made of each part of a model: what it costs, and how large it is.

A part is a sublayer, with so many units and so many bits of each of its matrices, or a
table of tokens, with so many bits; where rows of the vocabulary may go, it is all
tables together, with so many rows. Structure and bits have one price: what rounding a
sublayer costs is taken to be in proportion to the units that are left of it.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from slimjax.compress.curves import Curve
from slimjax.compress.knapsack import Offers, best_offers, choose
from slimjax.nn.quantize import FULL, bit_key, is_matrix
from slimjax.objective.inventory import VOCAB, Bits, Inventory, Leaf, uniform_bits
from slimjax.objective.size import SizeFn, unit_sizes
from slimjax.trees import Path

MAX_TRIES = 16
"""Times that a choice is made anew, since the last bytes of a file do not add up."""

KEPT = 100_000
"""Parts of a model's size; of offers that differ by less, one is kept."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a model becomes.

    Attributes:
        gates: 1 for what stays, 0 for what goes.
        bits: Bits of all units.
        nats: What that is predicted to cost before any healing, nats per target.
        structure_nats: The part of it that the cut costs.
        size: In the measure of the budget.
    """

    gates: dict[Path, np.ndarray]
    bits: Bits
    nats: float
    structure_nats: float
    size: float


class Part(NamedTuple):
    """All that may be made of one part of a model.

    Attributes:
        offers: What each offer costs, and by how much it changes the size of the model.
        points: The point of the part's curve of each offer, ``[K]``.
        states: The state of each of its matrices, ``[K M]``.
    """

    offers: Offers
    points: np.ndarray
    states: np.ndarray


class Catalogue:
    """The offers of one model, from which budgets choose."""

    def __init__(
        self,
        inventory: Inventory,
        curves: Sequence[Curve],
        size_fn: SizeFn,
        states: tuple[int, ...] = (FULL,),
        bit_nats: Mapping[Path, np.ndarray] | None = None,
        *,
        is_finer: bool = True,
        keeps_all: bool = False,
        cut_factor: float = 1.0,
    ):
        """Weighs all offers.

        Args:
            inventory: The model.
            curves: What may be made of sublayers.
            size_fn: From gates and bits to size.
            states: Numbers of bits to choose from.
            bit_nats: Nats that each state costs each matrix, by path, ``[S]``; those
                that are not named keep `FULL` bits.
            is_finer: Whether matrices of one sublayer may have different bits.
            keeps_all: Whether offers stay that are larger than others and cost more;
                in another measure they may be smaller.
            cut_factor: The part of what a cut of units costs that is left after
                healing. Rows of the vocabulary have their whole price: the text stays
                longer.
        """
        self.inventory, self.curves, self.size_fn = inventory, curves, size_fn
        self.states, self.is_finer = tuple(sorted(states, reverse=True)), is_finer
        self._keeps_all, self.cut_factor = keeps_all, cut_factor
        self.gates = inventory.open_gates()
        self.bit_nats = bit_nats or {}
        self._parts = {
            leaf.path: _part_of(leaf, inventory) for leaf in inventory.leaves
        }
        self.modules = sorted(
            {
                self._parts[leaf.path]
                for leaf in inventory.leaves
                if is_matrix(leaf.axes)
            }
        )
        self.whole = float(size_fn(self.gates, self._bits({})))
        self.start = float(size_fn(self.gates, self._bits({}, is_finer)))
        self._by_module = {curve.gate[:-1]: curve for curve in curves}
        self.lists = [self._make_part(module) for module in self.modules]

    def choose(self, budget: float) -> Choice | None:
        """Returns the choice of least cost within a budget; None if there is none."""
        room = budget - self.start
        for number in range(MAX_TRIES):
            numbers = choose([part.offers for part in self.lists], room)
            if numbers is None:
                return None
            choice = self.describe(numbers)
            if choice.size <= budget:
                return choice
            room -= (choice.size - budget) * (1 + number / 4)
        return None

    def least(self) -> float:
        """Returns the size of the smallest choice."""
        return self.describe(
            [int(np.argmin(part.offers.sizes)) for part in self.lists]
        ).size

    def _matrices(self, module: Path) -> list[Path]:
        return [path for path in sorted(self.bit_nats) if self._parts[path] == module]

    def _make_part(self, module: Path) -> Part:
        """Returns a module's offers: points of its curve, by states of its matrices."""
        curve, matrices = self._by_module.get(module), self._matrices(module)
        num_points = 1 if curve is None else len(curve.nats)
        left, structure = np.ones(num_points), np.zeros(num_points)
        if curve is not None:
            num_units = len(self.gates[curve.gate])
            left -= np.array([len(c) for c in curve.closed]) / num_units
            left = left if curve.left is None else curve.left
            structure = curve.nats * self._factor(curve)
        base = self._sizes(curve, {})
        states = self._combinations(len(matrices))
        nats = np.repeat(structure[:, None], len(states), axis=1)
        sizes = np.repeat(base[:, None] - self.start, len(states), axis=1)
        for i, path in enumerate(matrices):
            own = np.array([self._sizes(curve, {path: s}) - base for s in self.states])
            nats += left[:, None] * self.bit_nats[path][states[:, i]]
            sizes += own.T[:, states[:, i]]
        kept = np.arange(nats.size)
        if not self._keeps_all:
            kept = best_offers(nats.ravel(), sizes.ravel(), self.whole / KEPT)
        points, numbers = np.unravel_index(kept, nats.shape)
        offers = Offers(nats.ravel()[kept], sizes.ravel()[kept])
        return Part(offers, points, states[numbers])

    def _factor(self, curve: Curve) -> float:
        """Returns the part of a curve's nats that counts when offers are compared."""
        return 1.0 if curve.gate == (VOCAB,) else self.cut_factor

    def _combinations(self, num_matrices: int) -> np.ndarray:
        """Returns the states that matrices of a part may have together, ``[C M]``."""
        numbers = range(len(self.states))
        if not self.is_finer:
            return np.array([[number] * num_matrices for number in numbers])
        return np.array(list(itertools.product(numbers, repeat=num_matrices)))

    def _sizes(self, curve: Curve | None, bits: Mapping[Path, int]) -> np.ndarray:
        """Returns the size of the model at each point, all else being whole."""
        own = self._bits(bits, self.is_finer)
        whole = float(self.size_fn(self.gates, own))
        if curve is None:
            return np.array([whole])
        gates = {path: self.gates[path] for path in curve.patch(0, self.gates)}
        unit = unit_sizes(lambda g: self.size_fn({**self.gates, **g}, own), gates)
        counts = np.array([len(closed) for closed in curve.closed])
        sizes = whole - counts * float(unit[curve.gate])
        for point in np.flatnonzero(curve.is_whole):
            patch = curve.patch(int(point), self.gates)
            sizes[point] = float(self.size_fn({**self.gates, **patch}, own))
        return sizes

    def _bits(self, chosen: Mapping[Path, int], is_finer: bool = False) -> Bits:
        """Returns the bits of all units.

        Matrices whose units share a key keep it where all have the same bits.

        Args:
            chosen: Bits of matrices; others that may be rounded have the most.
            is_finer: Whether all matrices have keys of their own, also where they are
                alike.
        """
        bits = dict(uniform_bits(self.inventory, FULL))
        by_key: dict[Path, list[Path]] = {}
        for leaf in self.inventory.leaves:
            key = bit_key(leaf.path, leaf.axes)
            if key != leaf.path or leaf.path in self.bit_nats:
                by_key.setdefault(key, []).append(leaf.path)
        most = lambda path: self.states[0] if path in self.bit_nats else FULL
        for key, paths in by_key.items():
            own = {path: chosen.get(path, most(path)) for path in paths}
            units = bits.pop(key)
            is_alike = len(set(own.values())) == 1 and not is_finer
            named = {key: own[paths[0]]} if is_alike else own
            bits |= {name: np.full_like(units, b) for name, b in named.items()}
        return bits

    def describe(self, numbers: Sequence[int]) -> Choice:
        """Returns what it means to take these offers, one of each list."""
        gates = {path: gate.copy() for path, gate in self.gates.items()}
        chosen, nats, structure = {}, 0.0, 0.0
        for module, number, part in zip(self.modules, numbers, self.lists, strict=True):
            curve, point = self._by_module.get(module), int(part.points[number])
            own = [self.states[state] for state in part.states[number]]
            chosen |= dict(zip(self._matrices(module), own, strict=True))
            nats += float(part.offers.nats[number])
            if curve is not None:
                gates |= curve.patch(point, self.gates)
                structure += float(curve.nats[point])
                nats += float(curve.nats[point]) * (1 - self._factor(curve))
        bits = self._bits(chosen)
        size = float(self.size_fn(gates, bits))
        return Choice(gates, bits, nats, structure, size)


def _part_of(leaf: Leaf, inventory: Inventory) -> Path:
    """Returns the module of a weight; the root for tables whose rows may go."""
    if (VOCAB,) in inventory.gates and VOCAB in leaf.axes:
        return ()
    return leaf.path[:-1]
