"""The search for what a seam removes: at a price, within a budget, or all that can go.

A cautious search takes no more than a part of any gate and of any kind of sublayer.
Where a budget cannot be met so, caution is set aside.
"""

import dataclasses
from collections.abc import Callable, Collection

import numpy as np

from slimjax.budget.chooser import MAX_ALPHA
from slimjax.budget.decision import BitChoice, Decision, Sizes
from slimjax.budget.kinds import decide_within
from slimjax.budget.units import Costs, Gates
from slimjax.budget.width import WidthChooser
from slimjax.objective.inventory import Bits
from slimjax.train.blueprint import Blueprint
from slimjax.trees import Path

Choose = Callable[[WidthChooser], Decision | None]


@dataclasses.dataclass(frozen=True)
class Search:
    """Finds what to remove.

    Attributes:
        blueprint: The model as it is now.
        costs: Nats that closing each unit costs.
        choice: That bits are to be chosen.
        frozen: Gates that stay open, beside those of ``config.resize.frozen``.
    """

    blueprint: Blueprint
    costs: Costs
    choice: BitChoice | None = None
    frozen: tuple[Path, ...] = ()

    def at_price(self, alphas: Sizes | float) -> Decision | None:
        """Returns the best decision at the price of each measure."""
        return self._cautiously(lambda chooser: chooser.at_price(alphas))

    def at_budget(self, budget: Sizes) -> Decision | None:
        """Returns the decision of least cost within a budget; None if there is none."""
        choose: Choose = lambda chooser: chooser.at_budget(budget)
        return self._cautiously(choose) or choose(self._chooser(cautious=False))

    def at_least(self) -> Decision:
        """Returns the decision that leaves nothing that may go."""
        alphas = np.full(len(self.blueprint.run.objective.measures), MAX_ALPHA)
        return self._chooser(cautious=False).at_price(alphas)

    def among(self, gates: Collection[Path], keys: Collection[Path]) -> "Search":
        """Returns the search that moves these gates and these units' bits alone."""
        others = (p for p in self.blueprint.inventory.gates if p not in gates)
        frozen = (*self.frozen, *others)
        choice = self.choice and _keep_bits(self.choice, self.blueprint.bits, keys)
        return dataclasses.replace(self, choice=choice, frozen=frozen)

    def _chooser(self, costs: Costs | None = None, *, cautious: bool) -> WidthChooser:
        blueprint, choice = self.blueprint, self.choice
        limits = blueprint.run.resize.limits(cautious=cautious)
        names = (".".join(path) for path in self.frozen)
        limits = dataclasses.replace(limits, frozen=(*limits.frozen, *names))
        size_fn, costs = parts_fn(blueprint), costs or self.costs
        given = blueprint.inventory, size_fn, costs, limits, blueprint.bits, choice
        return WidthChooser(*given)

    def _cautiously(self, choose: Choose) -> Decision | None:
        size_fn, bits = parts_fn(self.blueprint), self.blueprint.bits
        return decide_within(
            self.blueprint.run.resize.max_kind_fraction,
            lambda costs: choose(self._chooser(costs, cautious=True)),
            self.costs,
            self.blueprint.inventory,
            lambda gates: size_fn(gates, bits),
        )


def parts_fn(blueprint: Blueprint) -> Callable[[Gates, Bits | None], np.ndarray]:
    """Returns the function to sizes in all priced measures, as parts of the start's."""
    names, whole = blueprint.run.objective.measures, blueprint.start_sizes
    size_fns = {name: blueprint.size_fn(name) for name in names}

    def size_fn(gates: Gates, bits: Bits | None) -> np.ndarray:
        return np.array([float(size_fns[m](gates, bits)) / whole[m] for m in names])

    return size_fn


def _keep_bits(choice: BitChoice, bits: Bits, keys: Collection[Path]) -> BitChoice:
    """Returns the choice in which only the units of some keys may change their bits."""
    prices, nats = choice.prices, {}
    for key, own in prices.nats.items():
        now = np.argmax(prices.states[None] == bits[key][:, None], axis=1)
        stays = np.arange(prices.states.size)[None] == now[:, None]
        nats[key] = own if key in keys else np.where(stays, own, np.inf)
    return dataclasses.replace(choice, prices=prices.with_nats(nats))
