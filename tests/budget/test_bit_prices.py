"""Bits: what they weigh is what a file holds, and a budget of bytes is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_files import pack
from shapes import make_variables, models, recipes

from slimjax.budget.bits import BitCosts, BitPrices
from slimjax.budget.decision import BitChoice
from slimjax.budget.limits import Limits
from slimjax.budget.width import WidthChooser
from slimjax.models import LayerConfig, decoder
from slimjax.nn.quantize import uniform_precision
from slimjax.objective.inventory import take_inventory, uniform_bits
from slimjax.objective.size import make_size_fn
from slimjax.trees import flatten, unflatten

STATES = (16, 8, 4, 2)
DIGITS = 6
"""Bytes by which the entry of one tensor in a table may be reckoned too long."""


def inventory_of(config):
    lengths = {"": 12, "encoder": 14, "text": 10}
    return take_inventory(config.abstract_variables(), config.uses(lengths))


def random_bits(inventory, source):
    uniform = uniform_bits(inventory, 16)
    return {key: source.choice(STATES, len(own)) for key, own in uniform.items()}


@given(st.data())
@settings(max_examples=20)
def test_bytes_of_any_bits_are_those_of_the_packed_file(data):
    config = data.draw(st.one_of(models(), recipes()))
    group_size = data.draw(st.sampled_from([0, 4]))
    variables, names = make_variables(config)
    weights, names = variables["params"], names["params"]
    inventory = inventory_of(config)
    bits = random_bits(inventory, np.random.default_rng(data.draw(st.integers(0, 99))))
    fit = uniform_precision(weights, names, 16)["fit"]
    content = pack(weights, names, {"bits": unflatten(bits), "fit": fit}, group_size)
    size_fn = make_size_fn("bytes", inventory, group_size)
    predicted = float(size_fn(inventory.open_gates(), bits))
    # So small models have lengths of one digit; the table is reckoned with three.
    slack = max(160, DIGITS * len(inventory.leaves))
    assert len(content) <= predicted <= 1.01 * len(content) + slack


def make_chooser(config, source):
    """Returns a chooser whose costs are random, those of fewer bits higher."""
    inventory = inventory_of(config)
    size_fn = make_size_fn("bytes", inventory)
    costs = {p: 50 * source.exponential(size=s) for p, s in inventory.gates.items()}
    bits = uniform_bits(inventory, 16)
    nats = {
        key: np.cumsum(source.exponential(size=(len(own), 4)), axis=1) * [0, 1, 3, 9]
        for key, own in bits.items()
    }
    prices = BitPrices(inventory, BitCosts(STATES, nats), 0)
    whole = float(size_fn(inventory.open_gates(), bits))
    limits = Limits(min_kv_heads=1, min_mlp_dim=1)
    parts = lambda gates, bits: np.array([float(size_fn(gates, bits)) / whole])
    choice = BitChoice(prices, 0, whole)
    chooser = WidthChooser(inventory, parts, costs, limits, bits, choice)
    return chooser, inventory, size_fn, whole


@pytest.mark.parametrize("part", [0.9, 0.5, 0.2, 0.13])
@pytest.mark.parametrize("seed", range(3))
def test_a_budget_of_bytes_is_never_exceeded_and_hardly_missed(part, seed):
    source = np.random.default_rng(seed)
    layers = tuple(
        LayerConfig(2 * k, k, 4, int(source.integers(20, 60)))
        for k in source.integers(1, 4, size=3).tolist()
    )
    chooser, _, size_fn, whole = make_chooser(decoder(64, 32, layers), source)
    decision = chooser.at_budget(part)
    assert decision is not None
    size = float(size_fn(decision.gates, decision.bits))
    assert size == pytest.approx(decision.sizes[0] * whole)
    assert size <= part * whole
    # A row of the table of tokens can still go up by two bits.
    assert part * whole - size <= max(0.01 * part * whole, 32 * 2 / 8 + 4)


def test_at_a_price_every_unit_is_in_its_best_state():
    source = np.random.default_rng(0)
    config = decoder(16, 8, (LayerConfig(2, 1, 4, 12),))
    chooser, inventory, _, whole = make_chooser(config, source)
    alpha = 20.0
    decision = chooser.at_price(alpha)
    for leaf in inventory.leaves:
        if leaf.path != ("tokens", "embedding"):
            continue
        for unit in range(16):
            sums = [
                chooser.choice.prices.nats[leaf.path][unit, i]
                + alpha * (8 * bits + 16 * (bits < 16)) / 8 / whole
                for i, bits in enumerate(STATES)
            ]
            assert decision.bits[leaf.path][unit] == STATES[int(np.argmin(sums))]


def test_more_price_never_leaves_more_bytes():
    source = np.random.default_rng(1)
    config = decoder(32, 16, (LayerConfig(4, 2, 4, 24),) * 2)
    chooser, *_ = make_chooser(config, source)
    sizes = [chooser.at_price(alpha).sizes[0] for alpha in (0, 1, 10, 100, 1e5)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 4


def test_closing_and_rounding_add_up_to_what_is_predicted():
    source = np.random.default_rng(2)
    config = decoder(16, 8, (LayerConfig(2, 1, 4, 12),))
    chooser, *_ = make_chooser(config, source)
    decision = chooser.at_price(0.0)
    assert decision.predicted_loss_change == pytest.approx(0.0, abs=1e-9)
    low = chooser.at_price(1e6)
    assert low.predicted_loss_change > chooser.at_widths(()).ledger.cost(low.gates)
    is_open = chooser.choice.prices.open_units(low.gates)
    kept = {key: own[is_open[key]] for key, own in low.bits.items()}
    assert {int(b) for own in kept.values() for b in own} == {2}
    assert flatten(unflatten(dict(low.bits))).keys() == low.bits.keys()
