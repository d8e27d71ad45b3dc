"""Who goes, the width of the residual stream included.

At one width sizes are linear in every gate, and `slimjax.objective.budget` decides. A
narrower residual stream makes all other units smaller, and every bit of theirs cheaper;
fewer or coarser units make its channels smaller. A weight is, in bytes, the product of
the two: channels x bits of the units. So the rest, units and their bits, is decided for
a number of widths, each with its weakest channels gone and at the bytes that states
have there, and the best of them is taken.
"""

from collections.abc import Callable

import numpy as np

from slimjax.objective.budget import Chooser
from slimjax.objective.decision import BitChoice, Decision, Sizes
from slimjax.objective.inventory import Bits, Inventory
from slimjax.objective.ledger import Ledger
from slimjax.objective.limits import Limits
from slimjax.objective.size import SizeFn
from slimjax.objective.units import Costs, list_units


class WidthChooser:
    """Decides for one model."""

    def __init__(
        self,
        inventory: Inventory,
        size_fn: SizeFn,
        costs: Costs,
        limits: Limits,
        bits: Bits | None = None,
        choice: BitChoice | None = None,
    ):
        """Lists the units.

        Args:
            inventory: The model as it is now.
            size_fn: From gates and bits to sizes, as parts of the start's, ``[M]``.
            costs: Nats that closing each unit costs.
            limits: What may go.
            bits: Bits of all units as they are now.
            choice: That bits are to be chosen.
        """
        self.inventory, self.size_fn, self.limits = inventory, size_fn, limits
        self.bits, self.choice = bits, choice
        self.units = list_units(inventory, costs, limits)
        self._choosers: dict[int, Chooser] = {}

    def at_price(self, alphas: Sizes | float) -> Decision:
        """Returns the best decision at the price of each measure."""
        prices = np.atleast_1d(np.asarray(alphas, float))
        found = self._search(
            lambda chooser: chooser.at_price(prices), lambda d: (0.0, d.complexity)
        )
        assert found is not None
        return found

    def at_budget(self, budget: Sizes | float) -> Decision | None:
        """Returns the decision of least cost found within the budget of each measure.

        Returns None if even all that may go is not enough.
        """
        sizes = np.atleast_1d(np.asarray(budget, float))
        return self._search(
            lambda chooser: chooser.at_budget(sizes), lambda d: d.rank(sizes)
        )

    def at_width(self, num_steps: int) -> Chooser:
        """Returns who decides when the width has gone that many steps."""
        if num_steps not in self._choosers:
            gates, channels = self.inventory.open_gates(), self.units.channels
            channels.close(gates, num_steps)
            spent = float(channels.costs[:num_steps].sum())
            ledger = Ledger(
                self.units,
                self.size_fn,
                gates,
                spent=spent,
                bits=self.bits,
                choice=self.choice and self.choice.at(gates),
            )
            self._choosers[num_steps] = Chooser(ledger, self.limits)
        return self._choosers[num_steps]

    def _search(
        self,
        decide: Callable[[Chooser], Decision | None],
        rank: Callable[[Decision], tuple[float, float]],
    ) -> Decision | None:
        """Returns the best decision, from a coarse grid of widths to its neighbours."""
        found: dict[int, Decision | None] = {}

        def value(steps: int) -> tuple[float, float]:
            if steps not in found:
                found[steps] = decide(self.at_width(steps))
            decision = found[steps]
            return (np.inf, np.inf) if decision is None else rank(decision)

        last = len(self.units.channels.steps)
        stride = max(1, last // 8)
        best = min((*range(0, last, stride), last), key=value)
        while stride > 1:
            stride = -(-stride // 2)
            near = (best, max(best - stride, 0), min(best + stride, last))
            best = min(near, key=value)
        return found[best]
