"""What is removed, the widths of the residual streams included.

At fixed widths sizes are linear in every gate, and `slimjax.budget.chooser` decides.
A narrower residual stream makes all other units smaller, and every bit of theirs
cheaper; fewer or coarser units make its channels smaller. A weight is, in bytes, the
product of the two: channels x bits of the units. So the rest, units and their bits, is
decided for a number of widths, each without its weakest channels and at the bytes that
states have there, and the best of them is taken. Several widths are searched one at a
time, in turns, until no turn finds a better one.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from slimjax.budget.chooser import Chooser
from slimjax.budget.decision import BitChoice, Decision, Sizes
from slimjax.budget.ledger import Ledger
from slimjax.budget.limits import Limits
from slimjax.budget.swap import swap_small
from slimjax.budget.units import Costs, list_units
from slimjax.objective.inventory import Bits, Inventory
from slimjax.objective.size import SizeFn

MAX_TURNS = 4
"""Turns that each of several widths gets to be found, and swaps one after another."""

Widths = tuple[int, ...]
"""For each residual stream, the number of steps by which it is narrower."""


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
            limits: What may be removed.
            bits: Bits of all units as they are now.
            choice: That bits are to be chosen.
        """
        self.inventory, self.size_fn, self.limits = inventory, size_fn, limits
        self.bits, self.choice = bits, choice
        self.units = list_units(inventory, costs, limits)
        self._choosers: dict[Widths, Chooser] = {}

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

        Returns None if even all that may be removed is not enough.
        """
        sizes = np.atleast_1d(np.asarray(budget, float))
        found = self._search(
            lambda chooser: chooser.at_budget(sizes), lambda d: d.rank(sizes)
        )
        if found is None or not found.rank(sizes)[0]:
            return found
        for _ in range(MAX_TURNS):
            before = found
            ledgers = [chooser.ledger for chooser in self._nearest_wider(before)]
            found = swap_small(ledgers, self.limits, before, sizes)
            if found is before:
                break
        return found

    def at_widths(self, widths: Widths) -> Chooser:
        """Returns what decides where residual streams are that much narrower."""
        if widths not in self._choosers:
            gates, spent = self.inventory.open_gates(), 0.0
            for channels, num_steps in zip(self.units.channels, widths, strict=True):
                channels.close(gates, num_steps)
                spent += float(channels.costs[:num_steps].sum())
            ledger = Ledger(
                self.units,
                self.size_fn,
                gates,
                spent=spent,
                bits=self.bits,
                choice=self.choice and self.choice.at(gates),
            )
            self._choosers[widths] = Chooser(ledger, self.limits)
        return self._choosers[widths]

    def _nearest_wider(self, decision: Decision) -> list[Chooser]:
        """Returns what decides at a decision's widths, and one step wider in each."""
        widths = tuple(f.count_closed(decision.gates) for f in self.units.channels)
        wider = [_with_width(widths, i, n - 1) for i, n in enumerate(widths) if n]
        return [self.at_widths(own) for own in (widths, *wider)]

    def _search(
        self,
        decide: Callable[[Chooser], Decision | None],
        rank: Callable[[Decision], tuple[float, float]],
    ) -> Decision | None:
        """Returns the best decision over all widths that are tried."""
        found: dict[Widths, Decision | None] = {}

        def value(widths: Widths) -> tuple[float, float]:
            if widths not in found:
                found[widths] = decide(self.at_widths(widths))
            decision = found[widths]
            return (np.inf, np.inf) if decision is None else rank(decision)

        lengths = [len(family.steps) for family in self.units.channels]
        best = (0,) * len(lengths)
        if len(lengths) > 1 and value(best)[0] == np.inf:
            best = tuple(lengths)
        for _ in range(MAX_TURNS if len(lengths) > 1 else 1):
            before = best
            for i, last in enumerate(lengths):
                at = partial(_with_width, best, i)
                nearest = _search_line(last, lambda steps, at=at: value(at(steps)))
                best = min((best, at(nearest)), key=value)
            if best == before:
                break
        value(best)
        return found[best]


def _with_width(widths: Widths, i: int, num_steps: int) -> Widths:
    return (*widths[:i], num_steps, *widths[i + 1 :])


def _search_line(last: int, value: Callable[[int], tuple[float, float]]) -> int:
    """Returns the best of 0 to `last`, from a coarse grid to its neighbours."""
    stride = max(1, last // 8)
    best = min((*range(0, last, stride), last), key=value)
    while stride > 1:
        stride = -(-stride // 2)
        near = (best, max(best - stride, 0), min(best + stride, last))
        best = min(near, key=value)
    return best
