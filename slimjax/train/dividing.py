"""How a budget is divided between the towers of a model, where one price does not.

One price for all takes what costs least, wherever it stands. With these rules it is
compared; they say what a tower keeps before costs are asked:

    even    each tower keeps the same part of its size
    NAME    the tower NAME is cut to its least before anything else is

A tower may be unable to give what a rule asks of it: one alone may not be enough for
the budget, or may not get down to its part. Then the others give more, and the decision
says that the rule is not kept to.

What goes is decided for some towers at a time, the others being as they are. A weight
between two towers is counted in one, and is smaller where the other is narrower. So all
together is smaller than the sum, and what is asked for is raised until the budget is
used up.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from slimjax.budget.decision import TOLERANCE, Decision, Sizes
from slimjax.objective.towers import MAIN, owner_of, sizes_by_tower
from slimjax.train.blueprint import Blueprint
from slimjax.train.search import Search, parts_fn
from slimjax.trees import Path

EVEN = "even"
"""The rule by which each tower keeps the same part."""

MAX_TRIES = 12
"""Times that a budget is divided anew, since parts of it were left over."""

PRICE_TRIES = 4
"""Sizes that are tried on the way to a budget whose price is too high."""

T = TypeVar("T")

Towers = tuple[str, ...]
"""Names of towers; that of the main one is `MAIN`."""


def decide_divided(search: Search, budget: Sizes) -> Decision:
    """Returns what goes by the rule ``config.objective.division``.

    Args:
        search: Decides, with what all units cost.
        budget: Largest size in each measure, as a part of the start's.
    """
    rule = search.blueprint.run.objective.division
    divider = Divider(search)
    return divider.evenly(budget) if rule == EVEN else divider.first(rule, budget)


def decide_below(search: Search, budget: Sizes, highest: float) -> Decision:
    """Returns what goes by the rule at no more than a price: less than a budget asks.

    Sizes between that of the model as it is and the budget are tried by bisection.

    Args:
        search: Decides, with what all units cost.
        budget: Largest size in each measure, whose price is above `highest`.
        highest: The largest price of the whole starting model.
    """
    blueprint = search.blueprint
    now = parts_fn(blueprint)(blueprint.inventory.open_gates(), blueprint.bits)
    part, step, found = 0.0, 1.0, None
    for _ in range(PRICE_TRIES):
        step /= 2
        goal = now * (budget / now) ** (part + step)
        decision = decide_divided(search, goal)
        if decision.alpha <= highest:
            part, found = part + step, decision
    return found or decide_divided(search, now)


class Divider:
    """Divides budgets of one model.

    Attributes:
        sizes: Sizes of each tower now, as parts of the whole model's at the start.
        whole: Sizes of the model now, in the same measures.
    """

    def __init__(self, search: Search):
        """Measures the towers of the model that is searched."""
        blueprint = search.blueprint
        self._search, self._size_fn = search, parts_fn(blueprint)
        self._owner = {
            path: _owner(path, blueprint)
            for path in (*blueprint.inventory.gates, *blueprint.bits)
        }
        self.sizes = _measure_towers(blueprint)
        opened = blueprint.inventory.open_gates()
        self.whole = self._size_fn(opened, blueprint.bits)

    def evenly(self, budget: Sizes) -> Decision:
        """Returns the decision in which all towers keep the same part.

        A tower whose least is more keeps that, and the others keep less.
        """

        def follow(part: float, decision: Decision) -> float | None:
            room = _room(decision, budget)
            if part >= 1 <= room:
                return None
            return part * (room if room >= 1 else room * (1 - TOLERANCE / 2))

        part = float((budget / self.whole).min())
        decide = lambda part: self._keep(min(part, 1.0))
        return _approach(decide, part, follow, budget) or self._keep(0.0)

    def first(self, name: str, budget: Sizes) -> Decision:
        """Returns the decision for which one tower gives all it has, if need be."""
        own = {(name,): self._alone((name,), budget)}
        decision = self._join(own)
        if (decision.sizes <= budget).all():
            return decision
        rest = tuple(other for other in self.sizes if other != name)
        decide = lambda room: self._join(own | {rest: self._alone(rest, room)})
        follow = lambda room, decision: room + budget - decision.sizes
        room = budget + self.whole - decision.sizes
        found = _approach(decide, room, follow, budget)
        return found or decide(np.zeros_like(budget))

    def _keep(self, part: float) -> Decision:
        """Returns the decision in which each tower by itself keeps a part."""
        goals = {
            name: self.whole - (1 - part) * own for name, own in self.sizes.items()
        }
        return self._join({(n,): self._alone((n,), goal) for n, goal in goals.items()})

    def _alone(self, towers: Towers, budget: Sizes) -> Decision:
        """Returns what goes of some towers; all that may, if that is not enough.

        Then the decision says that the rule is not kept to.
        """
        blueprint = self._search.blueprint
        is_own = lambda path: self._owner[path] in towers
        gates = frozenset(filter(is_own, blueprint.inventory.gates))
        search = self._search.among(gates, frozenset(filter(is_own, blueprint.bits)))
        least = lambda: dataclasses.replace(search.at_least(), keeps_rule=False)
        return search.at_budget(budget) or least()

    def _join(self, decisions: Mapping[Towers, Decision]) -> Decision:
        """Returns as one what was decided for towers by themselves.

        Its prices are the highest of those that divide. A tower that gives all it may
        has none; where all do, they are 0.
        """
        blueprint = self._search.blueprint
        gates, bits = blueprint.inventory.open_gates(), dict(blueprint.bits)
        for towers, own in decisions.items():
            is_own = lambda path, towers=towers: self._owner[path] in towers
            gates |= {path: gate for path, gate in own.gates.items() if is_own(path)}
            chosen = own.bits or {}
            bits |= {key: each for key, each in chosen.items() if is_own(key)}
        parts = list(decisions.values())
        priced = [own.alphas for own in parts if own.keeps_rule]
        return Decision(
            gates,
            np.max([*priced, np.zeros_like(parts[0].alphas)], axis=0),
            sum(own.predicted_loss_change for own in parts),
            self._size_fn(gates, bits),
            bits,
            keeps_rule=all(own.keeps_rule for own in parts),
        )


def _approach(
    decide: Callable[[T], Decision],
    start: T,
    follow: Callable[[T, Decision], T | None],
    budget: Sizes,
) -> Decision | None:
    """Returns the best decision within a budget, of some that come nearer to it.

    Args:
        decide: From what is asked for to a decision.
        start: What is asked for first.
        follow: From what was asked for, and its decision, to what is asked for next;
            None for no more.
        budget: Largest size in each measure.

    Returns:
        None if no decision is within the budget.
    """
    asked = start
    found: list[Decision] = []
    for _ in range(MAX_TRIES):
        decision = decide(asked)
        room, following = _room(decision, budget), follow(asked, decision)
        found += [decision] * (room >= 1)
        if 1 <= room < 1 + TOLERANCE or following is None:
            break
        asked = following
    return min(found, key=lambda decision: decision.rank(budget), default=None)


def _room(decision: Decision, budget: Sizes) -> float:
    """Returns how many times the nearest budget holds a decision; 1 or more fits."""
    return float((budget / decision.sizes).min())


def _owner(path: Path, blueprint: Blueprint) -> str:
    """Returns the tower of a gate or of a bit key; widths have gates at the root."""
    towers = blueprint.model.towers
    axes = {tower.axis: tower.name for tower in towers}
    named = [tower.name for tower in towers if tower.name]
    name = axes.get(path[-1]) if len(path) == 1 else None
    name = owner_of(path, named) if name is None else name
    return name or MAIN


def _measure_towers(blueprint: Blueprint) -> dict[str, Sizes]:
    """Returns the sizes of each tower, as parts of the whole model's at the start."""
    run, whole = blueprint.run, blueprint.start_sizes
    names = [tower.name for tower in blueprint.model.towers]
    given = blueprint.inventory, names, blueprint.bits, run.quantize.group_size
    return {
        name: np.array([own[m] / whole[m] for m in run.objective.measures])
        for name, own in sizes_by_tower(*given).items()
    }
