"""What a price and a budget promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import models

from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.models.decoder import abstract_variables
from slimjax.nn.gates import SUBLAYER
from slimjax.objective.budget import Chooser
from slimjax.objective.size import (
    MEASURES,
    make_size_fn,
    smallest_gates,
    take_inventory,
    unit_sizes,
)
from slimjax.objective.units import Limits
from slimjax.resize.plan import make_plan


def make_chooser(config, measure="params", limits=Limits(), seed=0):  # noqa: B008
    inventory = take_inventory(abstract_variables(config), 16)
    size_fn = make_size_fn(measure, inventory)
    source = np.random.default_rng(seed)
    costs = {p: source.exponential(0.01, s) for p, s in inventory.gates.items()}
    for path in costs:
        if path[-1] == SUBLAYER:
            costs[path] = np.array(np.nan)
    whole = float(size_fn(inventory.open_gates()))
    return Chooser(inventory, size_fn, costs, limits, whole), inventory, size_fn, whole


@given(models(), st.floats(0.05, 1.0), st.sampled_from(MEASURES), st.integers(0, 1000))
def test_a_budget_is_never_exceeded_and_hardly_missed(config, part, measure, seed):
    chooser, inventory, size_fn, whole = make_chooser(config, measure, seed=seed)
    least = float(size_fn(smallest_gates(inventory, {})))
    budget = least + part * (whole - least)
    decision = chooser.at_budget(budget)
    assert decision is not None
    assert decision.size <= budget
    assert decision.size == float(size_fn(decision.gates))
    make_plan(decision.gates)  # Groups keep equal numbers of heads.
    gap = budget - decision.size
    assert gap <= max(0.01 * budget, largest_step(chooser))


def largest_step(chooser) -> float:
    """Returns the size of the largest unit, sublayers that went as a whole included.

    A model of a few units has no smaller ones to fill a gap with.
    """
    return max([0.0, *unit_sizes(chooser.size_fn, chooser.inventory).values()])


@pytest.mark.parametrize("measure", MEASURES)
def test_a_budget_of_a_large_model_is_missed_by_less_than_one_percent(measure):
    config = ModelConfig(256, 64, (LayerConfig(8, 4, 16, 160),) * 4)
    for seed in range(5):
        chooser, _, _, whole = make_chooser(config, measure, seed=seed)
        for part in (0.3, 0.5, 0.8):
            decision = chooser.at_budget(part * whole)
            cheapest = min(
                size
                for size in unit_sizes(chooser.size_fn, chooser.inventory).values()
                if size > 0
            )
            heads = {p: s for p, s in chooser.unit_sizes.items() if p[-1] == "heads"}
            cheapest = max(cheapest, *(4 * size for size in heads.values()))
            assert decision.size <= part * whole
            assert part * whole - decision.size <= max(0.01 * part * whole, cheapest)


@given(models(), st.integers(0, 100))
def test_a_higher_price_never_leaves_a_larger_model(config, seed):
    chooser, *_ = make_chooser(config, seed=seed)
    sizes = [chooser.at_price(alpha).size for alpha in (0.0, 0.01, 0.1, 1.0, 10.0, 1e4)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == chooser.whole


def test_at_a_price_exactly_those_go_that_are_not_worth_it():
    config = ModelConfig(16, 8, (LayerConfig(2, 2, 4, 6),))
    chooser, inventory, size_fn, whole = make_chooser(
        config, limits=Limits(min_kv_heads=2, min_mlp_dim=1)
    )
    weight = unit_sizes(size_fn, inventory)[("layer_0", "mlp", "mlp")] / whole
    family = next(f for f in chooser.families if f.axis == "mlp")
    alpha = (family.costs[2] + family.costs[3]) / 2 / weight
    decision = chooser.at_price(alpha)
    assert decision.gates[("layer_0", "mlp", "mlp")].sum() == 6 - 3
    assert decision.predicted_loss_change == pytest.approx(family.costs[:3].sum())


def test_widths_stay_multiples():
    config = ModelConfig(16, 8, (LayerConfig(2, 2, 4, 37), LayerConfig(2, 2, 4, 24)))
    chooser, _, _, whole = make_chooser(config, limits=Limits(multiple=8))
    for part in (0.3, 0.5, 0.7, 0.9):
        gates = chooser.at_budget(part * whole).gates
        widths = [int(g.sum()) for p, g in gates.items() if p[-1] == "mlp"]
        assert all(width % 8 == 0 or width in (37, 24) for width in widths)


def test_uniform_layers_stay_alike_and_none_goes():
    config = ModelConfig(16, 8, (LayerConfig(6, 3, 4, 12),) * 3)
    chooser, _, _, whole = make_chooser(config, limits=Limits(uniform=True))
    for part in (0.4, 0.6, 0.8):
        gates = chooser.at_budget(part * whole).gates
        for axis in ("heads", "kv_heads", "mlp"):
            counts = {int(g.sum()) for p, g in gates.items() if p[-1] == axis}
            if axis != "heads":
                assert len(counts) == 1
                assert counts.pop() >= 1
        assert all(g == 1 for p, g in gates.items() if p[-1] == SUBLAYER)


def test_no_family_loses_more_than_the_fraction_allowed():
    config = ModelConfig(16, 8, (LayerConfig(8, 8, 4, 40),) * 2)
    limits = Limits(max_fraction=0.25, min_kv_heads=1, min_mlp_dim=1)
    chooser, *_ = make_chooser(config, limits=limits)
    gates = chooser.at_price(1e6).gates
    assert all(
        g.mean() >= 0.75 for p, g in gates.items() if p[-1] in ("kv_heads", "mlp")
    )
    assert chooser.at_budget(1.0) is None
