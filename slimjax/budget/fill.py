"""What is opened again after the cut: a budget is used up, as far as units are small.

At the price that meets a budget, ever smaller things are left over: units are opened,
the costliest for their size first, then bits are added to those that stay.
"""

from collections.abc import Iterator

import numpy as np

from slimjax.budget.decision import Decision, Sizes
from slimjax.budget.ledger import Ledger, is_open, step_sizes
from slimjax.budget.units import Gates, Sublayer, Units
from slimjax.trees import Path

Reopening = tuple[Gates, float, Sizes]
"""Gates that change, the nats that are won back, the sizes that are added."""

MAX_TRIES = 8
"""Times that bits are added to less room, since what tells them takes room, too."""


def fill(ledger: Ledger, decision: Decision, budget: Sizes) -> Decision:
    """Opens again, costliest first, what fits into the rest; then adds bits."""
    return _add_bits(ledger, _open_again(ledger, decision, budget), budget)


def reopenings(
    ledger: Ledger,
    gates: Gates,
    sizes: Sizes,
    decision: Decision,
    added_by: dict[Path, Sizes],
) -> Iterator[Reopening]:
    """Yields what may come back next: steps, and sublayers at their least.

    What sublayers add is kept in `added_by`, by the first of them, for the next time.
    """
    units, measures = ledger.units, ledger.sizes_by_measure(decision.states)
    for family in units.families:
        count = family.count_closed(gates)
        if count and is_open(family, gates):
            patch = {path: gates[path].copy() for path, _ in family.steps[0]}
            for path, opened in family.steps[count - 1]:
                patch[path][opened] = 1.0
            added = step_sizes(family, measures, gates)[count - 1]
            yield patch, family.costs[count - 1], added
    for sublayers in _list_closed(units, gates):
        patch, first = {s.path: np.ones(()) for s in sublayers}, sublayers[0].path
        for family in (units.families[i] for s in sublayers for i in s.families):
            patch |= {path: gates[path].copy() for path in family.members}
            family.close(patch, len(family.steps))
        value = ledger.cost(gates) - ledger.cost({**gates, **patch})
        if first not in added_by:
            larger = ledger.size_fn({**gates, **patch}, decision.bits)
            added_by[first] = larger - sizes
        yield patch, value, added_by[first]


def _list_closed(units: Units, gates: Gates) -> Iterator[list[Sublayer]]:
    """Yields the closed sublayers; those that go with their layer alone, together."""
    layer_of = {i: layer for layer in units.layers for i in layer.sublayers}
    for i, sublayer in enumerate(units.sublayers):
        inside = (i,) if sublayer.is_removable else layer_of[i].sublayers
        if i == inside[0] and gates[sublayer.path] == 0:
            yield [units.sublayers[j] for j in inside]


def _open_again(ledger: Ledger, decision: Decision, budget: Sizes) -> Decision:
    gates = {path: gate.copy() for path, gate in decision.gates.items()}
    sizes, added_by = decision.sizes, {}
    while True:
        may_return = reopenings(ledger, gates, sizes, decision, added_by)
        offers = [
            (value / max(float((added / budget).max()), 1e-12), patch)
            for patch, value, added in may_return
            if value >= 0 and (sizes + added <= budget).all()
        ]
        for _, patch in sorted(offers, key=lambda offer: -offer[0]):
            larger = ledger.size_fn({**gates, **patch}, decision.bits)
            if (larger <= budget).all():  # What was added is right but for ends.
                gates, sizes = {**gates, **patch}, larger
                break
        else:
            return ledger.decide(gates, decision.alphas, decision.states)


def _add_bits(ledger: Ledger, decision: Decision, budget: Sizes) -> Decision:
    if ledger.choice is None or decision.states is None:
        return decision
    prices, m, whole = ledger.choice.prices, ledger.choice.measure, ledger.choice.whole
    gates, room = decision.gates, float(budget[m] - decision.sizes[m]) * whole
    opened = prices.open_units(gates)
    for _ in range(MAX_TRIES):
        states = prices.raise_to(decision.states, opened, room)
        raised = ledger.decide(gates, decision.alphas, states)
        if raised.sizes[m] <= budget[m]:
            return raised
        room -= float(raised.sizes[m] - budget[m]) * whole
    return decision
