"""All that may be made of each part of a model: what it costs, and how large it is.

A part is a sublayer, with so many units and so many bits, or a table of tokens, with so
many bits; where rows of the vocabulary may go, it is all tables together, with so many
rows. Structure and bits have one price: what rounding a sublayer costs is taken to be
in proportion to the units that are left of it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from slimjax.compress.curves import Curve
from slimjax.compress.knapsack import Offers, choose
from slimjax.compress.moments import HEAD, STREAM, Moments
from slimjax.compress.rounding import group_squares, rounding_nats
from slimjax.compress.walk import source_of
from slimjax.nn.quantize import FULL, bit_axis, bit_key, from_rows, is_matrix, to_rows
from slimjax.objective.inventory import VOCAB, Bits, Inventory, Leaf, uniform_bits
from slimjax.objective.size import SizeFn, unit_sizes
from slimjax.resize.shrink import ANSWERS
from slimjax.trees import Path

MAX_TRIES = 6
"""Times that a choice is made anew, since the last bytes of a file do not add up."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a model becomes.

    Attributes:
        gates: 1 for what stays, 0 for what goes.
        bits: Bits of all units.
        nats: What that is predicted to cost, nats a target.
        structure_nats: The part of it that the cut costs.
        size: In the measure of the budget.
    """

    gates: dict[Path, np.ndarray]
    bits: Bits
    nats: float
    structure_nats: float
    size: float


class Catalogue:
    """The offers of one model, from which budgets choose."""

    def __init__(
        self,
        inventory: Inventory,
        curves: Sequence[Curve],
        size_fn: SizeFn,
        states: tuple[int, ...] = (FULL,),
        bit_nats: Mapping[Path, np.ndarray] | None = None,
    ):
        """Weighs all offers.

        Args:
            inventory: The model.
            curves: What may be made of sublayers.
            size_fn: From gates and bits to size.
            states: Numbers of bits to choose from.
            bit_nats: Nats that each state costs each matrix, by path, ``[S]``; those
                that are not named keep `FULL` bits.
        """
        self.inventory, self.curves, self.size_fn = inventory, curves, size_fn
        self.states = tuple(sorted(states, reverse=True))
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
        self.whole = float(size_fn(self.gates, self._bits([0] * len(self.modules))))
        self._by_module = {curve.gate[:-1]: curve for curve in curves}
        self._offers = [self._make_offers(module) for module in self.modules]

    def choose(self, budget: float) -> Choice | None:
        """Returns the choice of least cost within a budget; None if there is none."""
        floor = self.whole - sum(float(o.sizes[0]) for o in self._offers)
        room = budget - floor
        for _ in range(MAX_TRIES):
            numbers = choose(self._offers, room)
            if numbers is None:
                return None
            choice = self._describe(numbers)
            if choice.size <= budget:
                return choice
            room -= choice.size - budget
        return None

    def least(self) -> float:
        """Returns the size of the smallest choice."""
        numbers = [int(np.argmin(offers.sizes)) for offers in self._offers]
        return self._describe(numbers).size

    def _make_offers(self, module: Path) -> Offers:
        """Returns a module's offers: all points of its curve, by state."""
        curve, index = self._by_module.get(module), self.modules.index(module)
        nats, sizes = [], []
        for state in range(len(self.states)):
            bits = self._bits(
                [state if i == index else 0 for i in range(len(self.modules))]
            )
            points = 1 if curve is None else len(curve.nats)
            left = np.ones(points)
            if curve is not None:
                num_units = len(self.gates[curve.gate])
                left = 1 - np.array([len(c) for c in curve.closed]) / num_units
                left = left if curve.left is None else curve.left
            structure = np.zeros(1) if curve is None else curve.nats
            nats.append(structure + self._state_nats(module)[state] * left)
            sizes.append(self._sizes(curve, bits))
        return Offers(np.concatenate(nats), np.concatenate(sizes))

    def _sizes(self, curve: Curve | None, bits: Bits) -> np.ndarray:
        """Returns the size of the model at each point, relative to all else whole."""
        whole = float(self.size_fn(self.gates, bits))
        if curve is None:
            return np.array([whole])
        gates = {path: self.gates[path] for path in curve.patch(0, self.gates)}
        unit = unit_sizes(lambda g: self.size_fn({**self.gates, **g}, bits), gates)
        counts = np.array([len(closed) for closed in curve.closed])
        sizes = whole - counts * float(unit[curve.gate])
        for point in np.flatnonzero(curve.is_whole):
            patch = curve.patch(int(point), self.gates)
            sizes[point] = float(self.size_fn({**self.gates, **patch}, bits))
        return sizes

    def _state_nats(self, module: Path) -> np.ndarray:
        """Returns what each state costs all matrices of a module."""
        own = [n for path, n in self.bit_nats.items() if self._parts[path] == module]
        return np.sum(own, axis=0) if own else np.zeros(len(self.states))

    def _bits(self, states: Sequence[int]) -> Bits:
        """Returns the bits of all units, for the number of each module's state."""
        bits = dict(uniform_bits(self.inventory, FULL))
        chosen = dict(zip(self.modules, states, strict=True))
        for leaf in self.inventory.leaves:
            key = bit_key(leaf.path, leaf.axes)
            if leaf.path in self.bit_nats:
                own = self.states[chosen[self._parts[leaf.path]]]
                bits[key] = np.full_like(bits[key], own)
        return bits

    def _describe(self, numbers: Sequence[int]) -> Choice:
        gates = {path: gate.copy() for path, gate in self.gates.items()}
        states, nats, structure = [], 0.0, 0.0
        for module, number, offers in zip(
            self.modules, numbers, self._offers, strict=True
        ):
            curve = self._by_module.get(module)
            points = 1 if curve is None else len(curve.nats)
            states.append(number // points)
            nats += float(offers.nats[number])
            if curve is not None:
                gates |= curve.patch(number % points, self.gates)
                structure += float(curve.nats[number % points])
        bits = self._bits(states)
        size = float(self.size_fn(gates, bits))
        return Choice(gates, bits, nats, structure, size)


def price_bits(
    weights: Mapping[Path, np.ndarray],
    inventory: Inventory,
    moments: Moments,
    states: tuple[int, ...],
    group_size: int = 0,
) -> dict[Path, np.ndarray]:
    """Returns the nats that each number of bits costs each matrix.

    Args:
        weights: The weights, by path.
        inventory: Knows the names of their axes.
        moments: See `slimjax.compress.moments`.
        states: Numbers of bits, the most first.
        group_size: Elements that share a step.
    """
    found = {}
    for leaf in inventory.leaves:
        path, axis = leaf.path, bit_axis(leaf.axes)
        if not is_matrix(leaf.axes):
            continue
        moment, slope = sides_of(leaf, moments)
        if moment is None or slope is None:
            continue
        weight = np.asarray(weights[path], np.float32)
        squares = group_squares(to_rows(weight, axis), group_size)
        squares = from_rows(squares, axis, weight.shape)
        if leaf.axes[0] in ANSWERS:
            weight, squares = weight.T, squares.T
        flat = weight.reshape(len(moment), -1), squares.reshape(len(moment), -1)
        found[path] = rounding_nats(flat[0], moment, slope, flat[1], states)
    return found


def sides_of(
    leaf: Leaf, moments: Moments
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the moment of what a matrix reads, and the diagonal of its gradients'.

    None for those that are not rounded, such as tables of positions. An error in a row
    of a table of tokens that scores nothing is an error of the stream: there the moment
    is that of the stream's gradients, and all rows are taken to be read equally often.
    """
    if leaf.path in moments.slopes:
        slope = moments.slopes[leaf.path]
        slope = np.diag(slope) if slope.ndim == 2 else slope
        return moments.inputs.get(source_of(leaf.path, moments.inputs)), slope
    if leaf.axes[0] not in ANSWERS or len(leaf.shape) != 2:
        return None, None
    moment, slope = moments.inputs.get(HEAD), moments.slopes.get(HEAD)
    if not leaf.use.rate:
        moment = moments.slopes.get((*leaf.path[:-2], *STREAM))
        slope = np.full(leaf.shape[0], 1 / leaf.shape[0])
    if moment is None or slope is None:
        return None, None
    fits = leaf.shape == (len(slope), len(moment))
    return (moment, slope) if fits else (None, None)


def _part_of(leaf: Leaf, inventory: Inventory) -> Path:
    """Returns the module of a weight; the root for tables whose rows may go."""
    if (VOCAB,) in inventory.gates and VOCAB in leaf.axes:
        return ()
    return leaf.path[:-1]
