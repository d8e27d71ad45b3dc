"""What prices and budgets promise of models of all kinds, those of pictures among them.

Costs are drawn; nothing is compiled.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_files import pack
from shapes import recipes
from test_chooser import Case as CaseOfUnits
from test_width import Case

from slimjax.budget.limits import UNITS, Limits
from slimjax.models import HeadConfig, LayerConfig, Parts, fusion
from slimjax.nn.axes import is_filters
from slimjax.nn.pictures import Picture, Stage
from slimjax.nn.quantize import uniform_precision
from slimjax.objective.inventory import take_inventory
from slimjax.objective.size import make_size_fn
from slimjax.resize.plan import make_plan
from slimjax.trees import flatten

SLOW = pytest.mark.slow  # Each width and stage is searched, in turns.
ALL = Limits(units=UNITS)
HEADS = (HeadConfig("answer", 5, at="mean", bias=True),)


def draw_fusion(seed):
    """Returns a model of pictures and texts of some thousand weights."""
    source = np.random.default_rng(seed)
    pick = lambda *values: int(source.choice(values))

    def layer(**changes):
        groups = pick(1, 2)
        shape = groups * pick(1, 2), groups, 4, pick(12, 21, 32)
        return LayerConfig(*shape, **changes)

    groups = pick(1, 2)
    heads = dict(cross_heads=2 * groups, cross_kv_heads=groups)
    across = LayerConfig(0, 0, 4, pick(12, 20), False, **heads)
    stages = (Stage(pick(6, 9, 12), pool=2), Stage(pick(8, 16), pool=2))
    own = (layer(),) * pick(0, 1)
    parts = Parts(
        pick(12, 17), own, pick(12, 16), (layer(),), (across,), 20, (layer(),)
    )
    picture = Picture(8, 8, pick(1, 3), stages[: pick(1, 2)])
    options = dict(heads=HEADS, picture=picture, num_positions=12)
    return fusion(pick(24, 31), parts, **options)


def check_a_request(seed, part):
    """Asserts that a budget is met, and hardly missed; returns the decision."""
    case = Case(draw_fusion(seed), ALL, seed)
    budget = case.budget(part)
    decision = case.chooser.at_budget(budget)
    assert decision is not None
    room = float(budget - decision.sizes[0]) * case.whole
    # One more bit of the shortest row must not fit, unless a hundredth is left.
    assert 0 <= room <= max(0.01 * budget * case.whole, case.least_step(decision))
    weights, names, bits = case.cut(decision)
    fit = uniform_precision(weights, names, 16)["fit"]
    assert len(pack(weights, names, {"bits": bits, "fit": fit}, 0)) <= (
        decision.sizes[0] * case.whole + 1e-6
    )
    return decision


@SLOW
@pytest.mark.parametrize("seed", [0, 1])
def test_a_budget_is_met_over_both_towers_by_widths_filters_and_bits(seed):
    decision = check_a_request(seed, 0.25 - 0.05 * seed)
    kept = {path: float(gate.mean()) for path, gate in decision.gates.items()}
    assert min(kept[path] for path in kept if len(path) == 1) > 0  # A width each.
    assert min(kept[path] for path in kept if is_filters(path[-1])) > 0
    assert len({b for own in decision.bits.values() for b in own.tolist()}) > 1


@SLOW
@given(recipes(), st.floats(0.05, 1.0), st.integers(0, 99))
@settings(max_examples=4)
def test_no_budget_is_exceeded_whatever_the_model(config, part, seed):
    case = Case(config, ALL, seed)
    budget = case.budget(part)
    decision = case.chooser.at_budget(budget)
    assert decision is not None
    assert decision.sizes <= budget
    found = case.parts(decision.gates, decision.bits)
    np.testing.assert_array_equal(decision.sizes, found)
    weights, names, bits = case.cut(decision)
    fit = uniform_precision(weights, names, 16)["fit"]
    content = pack(weights, names, {"bits": bits, "fit": fit}, 0)
    assert len(content) <= decision.sizes[0] * case.whole + 1e-6


@given(recipes(), st.integers(0, 99))
@settings(max_examples=4)
def test_the_size_of_what_is_cut_is_the_one_that_was_predicted(config, seed):
    case = Case(config, Limits(units=UNITS[:-1]), seed)
    decision = case.chooser.at_price(float(np.random.default_rng(seed).exponential(2)))
    gone = [p for p in make_plan(decision.gates).gone if p]
    weights, _, bits = case.cut(decision)
    small = config.reshaped(weights)
    lengths = {tower.name: 12 for tower in small.towers}
    left = take_inventory(small.abstract_variables(), small.uses(lengths))
    size_fn = make_size_fn("bytes", left)
    actual = float(size_fn(left.open_gates(), flatten(bits)))
    predicted = float(case.size_fn(decision.gates, decision.bits))
    # The table of a file has less to tell where weights are gone, some bytes of each.
    num_gone = len(case.inventory.leaves) - len(left.leaves)
    assert bool(num_gone) == bool(gone)
    assert -1e-3 <= predicted - actual <= 12 * num_gone + 1e-3


@given(recipes(), st.integers(0, 100))
@settings(max_examples=4)
def test_a_higher_price_never_leaves_a_larger_model(config, seed):
    chooser = CaseOfUnits(config, seed=seed, limits=Limits()).chooser
    sizes = [chooser.at_price(alpha).sizes[0] for alpha in (0, 0.01, 0.1, 1, 10, 1e4)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 1.0
