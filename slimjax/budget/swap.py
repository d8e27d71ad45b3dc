"""What is exchanged where a budget is missed for want of a small unit.

A unit that does not fit is opened, and others are closed until it does. First those go
that cost least for their size. Where more is left over than the smallest unit that
could still go, the smallest go, whole sublayers and layers among them.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from slimjax.budget.decision import TOLERANCE, Decision, Sizes
from slimjax.budget.fill import fill, reopenings
from slimjax.budget.ledger import Ledger, is_open, step_sizes
from slimjax.budget.limits import Limits
from slimjax.budget.units import Family, Gates, Layer, Sublayer


@dataclasses.dataclass(frozen=True)
class Closing:
    """What can be removed next.

    Attributes:
        cost: Nats that its removal costs.
        sizes: What it takes off, in each measure.
        unit: The family whose next step it is, or a sublayer as a whole.
    """

    cost: float
    sizes: Sizes
    unit: Family | Sublayer

    def close(self, gates: Gates) -> None:
        """Closes it, in place."""
        if isinstance(self.unit, Family):
            self.unit.close(gates, self.unit.count_closed(gates) + 1)
        else:
            gates[self.unit.path][...] = 0.0

    def is_in(self, patch: Gates) -> bool:
        """Whether it would close again what a patch opens."""
        if isinstance(self.unit, Family):
            return bool(patch.keys() & self.unit.members.keys())
        return any(path[:-1] == self.unit.path[:-1] for path in patch)


ListFn = Callable[[Ledger, Decision, Gates], Iterator[Closing]]
"""From gates to what can be removed next, as a decision has its bits."""

WeighFn = Callable[[Closing], float]
"""From what can be removed to its weight; the least goes first."""


def swap_cheap(ledger: Ledger, decision: Decision, budget: Sizes) -> Iterator[Decision]:
    """Yields decisions in which a unit came back, and cheap ones went for it."""
    weigh = lambda closing: closing.cost / float((closing.sizes / budget).max())
    for patch, _, _ in reopenings(ledger, decision.gates, decision.sizes, decision, {}):
        swapped = _swap(ledger, decision, patch, budget, _list_steps, weigh)
        if swapped is not None:
            yield swapped


def swap_small(
    ledgers: Sequence[Ledger], limits: Limits, decision: Decision, budget: Sizes
) -> Decision:
    """Returns a decision that leaves less over than the smallest unit, if one is found.

    Args:
        ledgers: At the width of the decision, and at widths that may come back.
        limits: What must stay.
        decision: One that meets the budget.
        budget: The largest size in each measure.
    """
    weigh = lambda closing: float((closing.sizes / budget).max())
    list_all = partial(_list_all, limits)

    def rank(ledger: Ledger, found: Decision) -> tuple[float, float]:
        closings = list_all(ledger, found, found.gates)
        return _rest(closings, found, budget), found.predicted_loss_change

    least, best = rank(ledgers[0], decision), decision
    if least[0] == 0:
        return decision
    for ledger, patch in _offers(ledgers, decision):
        swapped = _swap(ledger, decision, patch, budget, list_all, weigh)
        if swapped is not None and rank(ledger, swapped) < least:
            least, best = rank(ledger, swapped), swapped
    return best


def _offers(
    ledgers: Sequence[Ledger], decision: Decision
) -> Iterator[tuple[Ledger, Gates]]:
    """Yields what may come back, units and wider streams, and where that is weighed."""
    own, *others = ledgers
    for patch, _, _ in reopenings(own, decision.gates, decision.sizes, decision, {}):
        yield own, patch
    streams = [path for family in own.units.channels for path in family.members]
    for ledger in others:
        yield ledger, {path: ledger.gates[path].copy() for path in streams}


def _swap(
    ledger: Ledger,
    decision: Decision,
    patch: Gates,
    budget: Sizes,
    list_fn: ListFn,
    weigh: WeighFn,
) -> Decision | None:
    """Returns what is left when a patch is opened and others make room for it."""
    gates = {path: gate.copy() for path, gate in decision.gates.items()} | patch
    sizes = ledger.size_fn(gates, decision.bits)
    while (sizes > budget).any():
        closings = (c for c in list_fn(ledger, decision, gates) if not c.is_in(patch))
        least = min(closings, key=weigh, default=None)
        if least is None:
            return None
        least.close(gates)
        sizes = sizes - least.sizes
        if (sizes <= budget).all():  # Sums are right but for ends.
            sizes = ledger.size_fn(gates, decision.bits)
    return fill(ledger, ledger.decide(gates, decision.alphas, decision.states), budget)


def _rest(closings: Iterator[Closing], decision: Decision, budget: Sizes) -> float:
    """Returns the part left over of the nearest budget, beyond what may be.

    That is a hundredth, or the smallest unit that can be removed next.
    """
    sizes = [closing.sizes for closing in closings] or [np.full(len(budget), np.inf)]
    smallest = np.min([np.where(size > 0, size, np.inf) for size in sizes], axis=0)
    allowed = np.maximum(TOLERANCE * budget, smallest)
    return max(0.0, float(((budget - decision.sizes - allowed) / budget).min()))


def _list_all(
    limits: Limits, ledger: Ledger, decision: Decision, gates: Gates
) -> Iterator[Closing]:
    """Yields the next steps of families, and sublayers as a whole."""
    yield from _list_steps(ledger, decision, gates)
    yield from _list_sublayers(limits, ledger, decision, gates)


def _list_steps(ledger: Ledger, decision: Decision, gates: Gates) -> Iterator[Closing]:
    """Yields the next step of each family that takes anything off and need not stay."""
    measures = ledger.sizes_by_measure(decision.states)
    for family in ledger.units.families:
        count = family.count_closed(gates)
        if count < len(family.steps) and is_open(family, gates):
            sizes = step_sizes(family, measures, gates)[count]
            if sizes.max() > 0 and np.isfinite(family.costs[count]):
                yield Closing(family.costs[count], sizes, family)


def _list_sublayers(
    limits: Limits, ledger: Ledger, decision: Decision, gates: Gates
) -> Iterator[Closing]:
    """Yields the sublayers that can go, with their layer if they are its last."""
    measures, opened = ledger.sizes_by_measure(decision.states), _opened(ledger, gates)
    num_layers = Counter(layer.tower for layer, _ in opened)
    for layer, sublayers in opened:
        is_last = len(sublayers) == 1 and layer.tower is not None
        is_spare = layer.is_removable and num_layers[layer.tower] > limits.min_layers
        for sublayer in sublayers:
            if not (is_spare if is_last else sublayer.is_removable):
                continue
            sizes = _left_of(ledger, sublayer, measures, gates)
            if sizes.max() <= 0:
                continue
            closed = gates | {sublayer.path: np.zeros(())}
            cost = ledger.cost(closed) - ledger.cost(gates)
            if np.isfinite(cost):
                yield Closing(cost, sizes, sublayer)


def _opened(ledger: Ledger, gates: Gates) -> list[tuple[Layer, list[Sublayer]]]:
    """Returns the layers that are there, each with its sublayers that are."""
    found = []
    for layer in ledger.units.layers:
        inside = (ledger.units.sublayers[i] for i in layer.sublayers)
        sublayers = [sublayer for sublayer in inside if gates[sublayer.path] > 0]
        if sublayers:
            found.append((layer, sublayers))
    return found


def _left_of(
    ledger: Ledger, sublayer: Sublayer, measures: list[Gates], gates: Gates
) -> Sizes:
    """Returns what is left of a sublayer, in each measure."""
    sizes = np.array([float(own[sublayer.path]) for own in measures])
    for family in (ledger.units.families[i] for i in sublayer.families):
        count = family.count_closed(gates)
        if count:
            sizes -= step_sizes(family, measures, gates)[:count].sum(0)
    return sizes
