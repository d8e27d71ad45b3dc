"""What is decided at a price or within a budget."""

import dataclasses

import numpy as np
from jaxtyping import Float

from slimjax.budget.bits import BitPrices, States
from slimjax.budget.units import Gates
from slimjax.objective.inventory import Bits

Sizes = Float[np.ndarray, " M"]
"""Sizes in M measures, each as a part of the size at the start."""

TOLERANCE = 0.01
"""The part of a budget that may be left over for want of smaller units."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What stays, and what it is predicted to cost.

    Attributes:
        gates: 1 for what stays, 0 for what is removed.
        alphas: The price of each measure, nats for the whole starting model.
        predicted_loss_change: Sum of the costs of all that is removed or loses bits,
            nats a target.
        sizes: Sizes of what stays, as parts of the start's.
        bits: Bits of all units, also of those that are removed.
        states: The numbers of their states, where those were chosen.
        keeps_rule: Whether a rule that divides a budget between towers is kept to; a
            tower may be unable to give what it asks for.
    """

    gates: Gates
    alphas: Sizes
    predicted_loss_change: float
    sizes: Sizes
    bits: Bits | None = None
    states: States | None = None
    keeps_rule: bool = True

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


@dataclasses.dataclass(frozen=True)
class BitChoice:
    """That bits are to be chosen.

    Attributes:
        prices: What they cost.
        measure: The number of the measure that counts them.
        whole: Bytes of the model that the run started from.
    """

    prices: BitPrices
    measure: int
    whole: float

    def at(self, gates: Gates) -> "BitChoice":
        """Returns the choice where gates have closed channels of the units' rows."""
        return dataclasses.replace(self, prices=self.prices.at(gates))
