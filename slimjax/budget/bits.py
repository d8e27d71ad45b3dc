"""The price of bits: each unit keeps as many as pay for their bytes.

At a price ``alpha`` unit u takes the state

    argmin_s d_u(s) + alpha * bytes_u(s) / Size(start)

where ``d_u(s)`` is the loss that rounding it to s bits costs. The least value of that
sum is what the unit costs as long as it stays, so that it is removed when removal costs
less: zero bits is removal, and structure and bits have one price. What a unit weighs in
a state is its row's length times the bits, and rows are as long as the residual stream
is wide.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from slimjax.nn.gates import NESTED, SUBLAYER, axis_gates
from slimjax.nn.quantize import FULL, bit_axis, bit_key, num_groups
from slimjax.objective.inventory import Bits, Inventory, Leaf
from slimjax.trees import Path

Values = dict[Path, np.ndarray]
"""A number for each unit, by bit key."""

States = dict[Path, np.ndarray]
"""The number of the state of each unit, by bit key; 0 has the most bits."""


@dataclasses.dataclass(frozen=True)
class BitCosts:
    """What rounding costs.

    Attributes:
        states: Bits that a unit may have, the most first.
        nats: [U S], never falling along S: nats a target that rounding each unit to
            each state costs, by bit key; infinite where a unit cannot have it.
    """

    states: tuple[int, ...]
    nats: Mapping[Path, Float[np.ndarray, "U S"]]


class BitPrices:
    """Costs and bytes of all units in all states.

    Attributes:
        states: Bits, the most first.
        nats: [U S] by bit key, what each state costs each unit.
        bytes: [S] by bit key, what each state of any unit weighs.
    """

    def __init__(
        self,
        inventory: Inventory,
        costs: BitCosts,
        group_size: int,
        gates: Mapping[Path, np.ndarray] | None = None,
    ):
        """Weighs every unit in every state.

        Args:
            inventory: The model.
            costs: Nats that states cost.
            group_size: Elements that share a step; 0 for the whole row.
            gates: Tell which channels rows have; None for all of them.
        """
        self._of = inventory, costs, group_size
        self.states, self.nats = np.array(costs.states), costs.nats
        self.bytes = {key: np.zeros(self.states.size) for key in costs.nats}
        for leaf in inventory.leaves:
            row = row_length(leaf, gates or {})
            steps = FULL * num_groups(row, group_size) * (self.states < FULL)
            self.bytes[bit_key(leaf.path, leaf.axes)] += (row * self.states + steps) / 8
        ends = np.cumsum([len(own) for own in self.nats.values()])
        self._own = {
            key: slice(int(end) - len(self.nats[key]), int(end))
            for key, end in zip(self.nats, ends, strict=True)
        }
        none = np.zeros((0, self.states.size))
        self._all_nats = np.concatenate([none, *self.nats.values()])
        rows = [
            self.bytes[key][None].repeat(len(own), 0) for key, own in self.nats.items()
        ]
        self._all_bytes = np.concatenate([none, *rows])

    def at(self, gates: Mapping[Path, np.ndarray]) -> "BitPrices":
        """Returns the prices where rows have lost the channels that gates close."""
        return BitPrices(*self._of, gates)

    def with_nats(self, nats: Mapping[Path, np.ndarray]) -> "BitPrices":
        """Returns the prices where states cost other nats, ``[U S]`` by bit key."""
        inventory, costs, group_size = self._of
        return BitPrices(inventory, BitCosts(costs.states, nats), group_size)

    def best(self, alpha: float, whole: float) -> States:
        """Returns the number of the best state of each unit at a price."""
        sums = self._all_nats + alpha * self._all_bytes / whole
        return self._by_key(np.argmin(sums, axis=1))

    def values(self, chosen: States, alpha: float, whole: float) -> Values:
        """Returns what each unit costs as long as it stays, in nats."""
        if not chosen:
            return {}
        states = np.concatenate([chosen[key] for key in self.nats])
        units = np.arange(len(states))
        weights = alpha * self._all_bytes[units, states] / whole
        return self._by_key(self._all_nats[units, states] + weights)

    def _by_key(self, units: np.ndarray) -> dict[Path, np.ndarray]:
        """Returns numbers of all units, by bit key."""
        return {key: units[own] for key, own in self._own.items()}

    def cost(self, chosen: States, is_open: Mapping[Path, np.ndarray]) -> float:
        """Returns the nats that the chosen states of all that stays cost."""
        nats = self.values(chosen, 0.0, 1.0)
        return float(sum((own * is_open[key]).sum() for key, own in nats.items()))

    def cost_of(self, bits: Bits) -> float:
        """Returns the nats that the bits of all units cost as they are."""
        states = {
            key: np.argmax(self.states[None] == own[:, None], axis=1)
            for key, own in bits.items()
        }
        return self.cost(states, {key: own > 0 for key, own in bits.items()})

    def open_units(self, gates: Mapping[Path, np.ndarray]) -> dict[Path, np.ndarray]:
        """Returns which units stay, by bit key."""
        found = {}
        for key, nats in self.nats.items():
            units = axis_gates(key, key[-1], len(nats), gates)
            is_open = np.ones(len(nats)) if units is None else units
            for depth in range(len(key)):
                is_open = is_open * gates.get((*key[:depth], SUBLAYER), 1.0)
            found[key] = is_open > 0
        return found

    def bits(self, chosen: States) -> Bits:
        """Returns the bits of chosen states."""
        return {key: self.states[own].astype(np.int32) for key, own in chosen.items()}

    def raise_to(
        self,
        chosen: States,
        is_open: Mapping[Path, np.ndarray],
        room: float,
    ) -> States:
        """Returns states with more bits where those gain most, until room is used up.

        Args:
            chosen: State of each unit.
            is_open: Which units stay.
            room: Bytes that may be added.
        """
        chosen = {key: own.copy() for key, own in chosen.items()}
        while offers := self._offers(chosen, is_open, room):
            for _, num_bytes, key, unit, state in offers:
                if num_bytes <= room:
                    room -= num_bytes
                    chosen[key][unit] = state
        return chosen

    def _offers(
        self, chosen: States, is_open: Mapping[Path, np.ndarray], room: float
    ) -> list[tuple[float, float, Path, int, int]]:
        """Returns (minus the nats a byte, bytes, key, unit, state), the best first.

        One offer a unit, of the state that gains most a byte among those that fit.
        """
        offers = []
        for key, own in chosen.items():
            gains = np.take_along_axis(self.nats[key], own[:, None], 1) - self.nats[key]
            added = self.bytes[key] - self.bytes[key][own][:, None]
            higher = np.arange(self.states.size) < own[:, None]
            fits = higher & (gains >= 0) & (added <= room) & is_open[key][:, None]
            rates = np.where(fits, gains / np.maximum(added, 1e-12), -1.0)
            states = rates.argmax(1)
            for unit in np.flatnonzero(fits.any(1)):
                state = int(states[unit])
                offers.append(
                    (-rates[unit, state], added[unit, state], key, int(unit), state)
                )
        return sorted(offers, key=lambda offer: offer[:2])


def row_length(leaf: Leaf, gates: Mapping[Path, np.ndarray]) -> int:
    """Returns the elements that one unit has of a weight, closed channels left out.

    Examples:
        >>> leaf = Leaf(("mlp", "up"), (4, 3), ("embed", "mlp"))
        >>> row_length(leaf, {("embed",): np.array([1.0, 0, 1, 0])})
        2
    """
    axis, length = bit_axis(leaf.axes), 1
    for i, (name, whole) in enumerate(zip(leaf.axes, leaf.shape, strict=True)):
        if i != axis:
            units = axis_gates(leaf.path, name, whole, gates)
            length *= whole if units is None else int(np.sum(units))
    return length


def by_gate(values: Values, gates: Mapping[Path, np.ndarray]) -> dict[Path, np.ndarray]:
    """Returns the sums of units' values over what each unit of each gate governs.

    Gates that govern a part of units only, such as channels, are left out.
    """
    sums = {}
    for path in gates:
        if path[-1] == SUBLAYER:
            inside = [
                v.sum() for k, v in values.items() if k[: len(path) - 1] == path[:-1]
            ]
            sums[path] = np.array(sum(inside))
        elif path in values:
            sums[path] = values[path].copy()
    for inner, outer in NESTED.items():
        for path in gates:
            members = (*path[:-1], inner)
            if path[-1] == outer and members in values:
                sums[path] += values[members].reshape(len(sums[path]), -1).sum(1)
    return sums
