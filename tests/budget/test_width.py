"""The width and the bits of units, decided together: one price, one true size."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_files import pack
from shapes import make_variables, models

from slimjax.budget.bits import BitCosts, BitPrices
from slimjax.budget.decision import BitChoice
from slimjax.budget.least import least_size
from slimjax.budget.limits import UNITS, Limits
from slimjax.budget.width import WidthChooser
from slimjax.models import LayerConfig, decoder
from slimjax.nn.gates import CHANNELS
from slimjax.nn.quantize import precision_names, uniform_precision
from slimjax.objective.inventory import take_inventory, uniform_bits
from slimjax.objective.size import make_size_fn
from slimjax.resize.plan import make_plan
from slimjax.resize.shrink import cut
from slimjax.trees import flatten, unflatten

STATES = (16, 8, 4, 2)
ALL = Limits(units=UNITS)


class Case:
    """A model with drawn costs of units, channels and bits, and who decides."""

    def __init__(self, config, limits=ALL, seed=0, group_size=0):
        self.config, self.limits, self.group_size = config, limits, group_size
        lengths = {tower.name: 12 for tower in config.towers}
        self.inventory = take_inventory(
            config.abstract_variables(), config.uses(lengths)
        )
        self.bits = uniform_bits(self.inventory, 16)
        self.size_fn = make_size_fn("bytes", self.inventory, group_size)
        self.whole = float(self.size_fn(self.inventory.open_gates(), self.bits))
        self.source = np.random.default_rng(seed)
        draw = self.source.exponential
        self.costs = {p: draw(0.01, s) for p, s in self.inventory.gates.items()}
        self.nats = {key: self.draw_nats(len(own)) for key, own in self.bits.items()}
        for leaf in self.inventory.leaves:
            if len(leaf.axes) < 2:
                self.nats[leaf.path][:, 2:] = np.inf

    def draw_nats(self, num_units):
        steps = self.source.exponential(1e-3, (num_units, len(STATES)))
        return np.maximum.accumulate(steps * [0, 1, 3, 20], axis=1)

    def parts(self, gates, bits):
        return np.array([float(self.size_fn(gates, bits)) / self.whole])

    @property
    def chooser(self):
        costs = BitCosts(STATES, self.nats)
        prices = BitPrices(self.inventory, costs, self.group_size)
        choice = BitChoice(prices, 0, self.whole)
        limits = self.limits
        inventory = self.inventory
        return WidthChooser(
            inventory, self.parts, self.costs, limits, self.bits, choice
        )

    def budget(self, part):
        """Returns a budget between the least at fewest bits (0) and the whole (1)."""
        fewest = {
            key: np.where(np.isfinite(nats), STATES, STATES[0]).min(1)
            for key, nats in self.nats.items()
        }
        size_fn = lambda gates: self.size_fn(gates, fewest)
        least = least_size(self.inventory, size_fn, self.limits) / self.whole
        return least * (1 - part) + part

    def cut(self, decision):
        """Returns the weights that stay, the names of their axes, and their bits."""
        plan = make_plan(decision.gates)
        variables, names = make_variables(self.config)
        of_bits = precision_names(names["params"])["bits"]
        weights = cut(variables["params"], names["params"], plan)
        bits = cut(unflatten(dict(decision.bits)), of_bits, plan)
        kept = flatten(names["params"])
        kept = {path: kept[path] for path in flatten(weights)}
        return weights, unflatten(kept), bits

    def least_step(self, decision):
        """Returns the fewest bytes by which the model can grow, inf if it cannot."""
        chooser, found = self.chooser, [np.inf]
        channels = chooser.units.channels
        widths = tuple(family.count_closed(decision.gates) for family in channels)
        prices = chooser.at_widths(widths).ledger.choice.prices
        opened = prices.open_units(decision.gates)
        for key, own in decision.states.items():
            for state in own[opened[key]]:
                more = prices.bytes[key][:state] - prices.bytes[key][state]
                found += list(more)
        return min(found)


def limits_of(seed):
    """Returns limits of all kinds, by lot."""
    return (
        ALL,
        Limits(units=UNITS, min_kv_heads=1, min_mlp_dim=1, min_width=2),
        Limits(units=UNITS, frozen=("layer_0",), width_multiple=2),
        Limits(units=UNITS, min_layers=1, max_fraction=0.5),
    )[seed % 4]


@given(models(), st.floats(0.05, 1.0), st.integers(0, 99), st.sampled_from([0, 4]))
@settings(max_examples=settings.default.max_examples)
def test_a_budget_is_met_by_width_and_bits_together(config, part, seed, group_size):
    case = Case(config, limits_of(seed), seed, group_size)
    budget = case.budget(part)
    decision = case.chooser.at_budget(budget)
    if case.limits.max_fraction < 1 and decision is None:
        return
    assert decision.sizes <= budget
    np.testing.assert_array_equal(
        decision.sizes, case.parts(decision.gates, decision.bits)
    )
    weights, names, bits = case.cut(decision)
    fit = uniform_precision(weights, names, 16)["fit"]
    content = pack(weights, names, {"bits": bits, "fit": fit}, group_size)
    assert len(content) <= decision.sizes[0] * case.whole + 1e-6
    for path, gate in decision.gates.items():
        assert gate.all() or not case.limits.is_frozen(path)
    assert decision.gates[(CHANNELS,)].sum() >= case.limits.min_width


CONFIGS = [
    decoder(
        31 + 8 * i, 24 + 4 * i, (LayerConfig(4, 2, 4, 24 + i), LayerConfig(2, 2, 8, 37))
    )
    for i in range(4)
]


@pytest.mark.parametrize("uniform", [False, True])
def test_a_budget_is_missed_by_less_than_a_hundredth_or_the_cheapest_unit(uniform):
    widths, bits = set(), set()
    for i, config in enumerate(CONFIGS):
        config = decoder(config.vocab_size, config.width, config.layers[:1] * 2)
        case = Case(config, Limits(units=UNITS, uniform=uniform), seed=i)
        budget = case.budget((0.1, 0.25, 0.4, 0.6)[i])
        decision = case.chooser.at_budget(budget)
        room = float(budget - decision.sizes[0]) * case.whole
        assert 0 <= room <= max(0.01 * budget * case.whole, case.least_step(decision))
        widths.add(decision.gates[(CHANNELS,)].mean() < 1)
        bits |= {b for own in decision.bits.values() for b in own}
        if uniform:
            kept = [g.sum() for p, g in decision.gates.items() if p[-1] == "mlp"]
            assert len(set(kept)) == 1
    assert True in widths
    assert len(bits) >= 3


@given(models(max_layers=2), st.integers(0, 99))
@settings(max_examples=settings.default.max_examples)
def test_the_size_of_what_is_cut_is_the_one_that_was_predicted(config, seed):
    case = Case(config, Limits(units=("heads", "kv_heads", "mlp", CHANNELS)), seed)
    decision = case.chooser.at_price(float(np.random.default_rng(seed).exponential(2)))
    gone = [p for p in make_plan(decision.gates).gone if p]
    weights, _, bits = case.cut(decision)
    small = config.reshaped(weights)
    left = take_inventory(small.abstract_variables(), small.uses({"": 12}))
    size_fn = make_size_fn("bytes", left)
    actual = float(size_fn(left.open_gates(), flatten(bits)))
    predicted = float(case.size_fn(decision.gates, decision.bits))
    # The table of a file tells less where a sublayer is gone.
    assert actual == pytest.approx(predicted, abs=60 * len(gone) + 1e-3)


def test_at_a_price_no_other_width_units_and_bits_are_better():
    config = decoder(3, 4, (LayerConfig(1, 1, 2, 2, attention=False),))
    limits = Limits(units=("mlp", CHANNELS), min_mlp_dim=1)
    for seed in range(3):
        case = Case(config, limits, seed)
        chooser, alpha = case.chooser, 3.0
        chosen = chooser.at_price(alpha)
        best = min(d.complexity for d in all_decisions(chooser, alpha))
        # Bytes that are no unit's, such as those that tell states, have no price.
        assert chosen.complexity <= best + alpha * 8 / case.whole


def all_decisions(chooser, alpha):
    """Yields every decision that there is, of few units."""
    family = next(f for f in chooser.units.families if f.steps)
    for num_channels in range(len(chooser.units.channels[0].steps) + 1):
        ledger = chooser.at_widths((num_channels,)).ledger
        for num_units in range(len(family.steps) + 1):
            gates = {path: gate.copy() for path, gate in ledger.gates.items()}
            family.close(gates, num_units)
            yield from decisions_of_bits(ledger, gates, alpha)


def decisions_of_bits(ledger, gates, alpha):
    """Yields all ways to give each unit its bits; all of a key get the same."""
    keys = sorted(ledger.bits)
    num_states = [
        [
            i
            for i in range(len(STATES))
            if np.isfinite(ledger.choice.prices.nats[k][0, i])
        ]
        for k in keys
    ]
    for picked in itertools.product(*num_states):
        pairs = zip(keys, picked, strict=True)
        states = {key: np.full(len(ledger.bits[key]), i) for key, i in pairs}
        yield ledger.decide(gates, np.array([alpha]), states)


def test_channels_are_worth_more_the_more_bits_cross_them():
    config = decoder(16, 32, (LayerConfig(2, 2, 4, 32),) * 2)
    case = Case(config, Limits(units=(CHANNELS,)))
    case.costs[(CHANNELS,)][:] = 0.01
    nats, widths = case.nats, []
    for factor in (1e-6, 1e3):  # Coarse rows are nearly free, or not to be had.
        case.nats = {key: own * factor for key, own in nats.items()}
        gates = case.chooser.at_price(0.5).gates
        widths.append(int(gates[(CHANNELS,)].sum()))
        assert all(g.all() for p, g in gates.items() if p != (CHANNELS,))
    assert widths[0] > widths[1]
