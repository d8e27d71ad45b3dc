"""What curves and offers promise."""

import numpy as np
import pytest
from compress.tiny import SHAPES, draw_rows, make_decoder

from slimjax.budget.limits import Limits
from slimjax.compress.bit_prices import price_bits
from slimjax.compress.curves import make_curves
from slimjax.compress.folder import bits_by_matrix, bits_by_unit
from slimjax.compress.moments import Moments, collect
from slimjax.compress.offers import Catalogue
from slimjax.nn.quantize import FULL
from slimjax.objective.inventory import take_inventory
from slimjax.objective.size import make_size_fn
from slimjax.trees import flatten


@pytest.fixture(scope="module")
def material():
    model, variables, walk = make_decoder()
    moments = collect(walk, variables, draw_rows(30), num_slope_rows=10)
    inventory = take_inventory(model.abstract_variables(), model.uses({"": 9}))
    return inventory, flatten(variables["params"]), moments


def curves_of(material, **limits):
    inventory, weights, moments = material
    return make_curves(weights, inventory.open_gates(), moments, Limits(**limits))


def choose(catalogue, budget):
    choice = catalogue.choose(budget)
    assert choice is not None
    return choice


def test_every_sublayer_has_a_curve_that_never_falls(material):
    curves = curves_of(material)
    assert len(curves) == 2 * len(SHAPES)
    for curve in curves:
        assert curve.nats[0] == 0
        assert (np.diff(curve.nats) >= 0).all()
        assert curve.is_whole.tolist() == [False] * (len(curve.nats) - 1) + [True]


def test_widths_stay_multiples(material):
    """A width that is none loses the rest first."""
    mlps = [c for c in curves_of(material, multiple=8) if c.gate[-1] == "mlp"]
    widths = [len(curve.closed[-1]) for curve in mlps]
    assert widths == [24, 24, 17]
    left = [[len(c.closed[-1]) - len(gone) for gone in c.closed] for c in mlps]
    assert left == [[24, 16, 8, 0], [24, 16, 8, 0], [17, 16, 8, 0]]


@pytest.mark.parametrize(
    ("groups", "multiple", "left"), [(3, 2, [3, 2, 0]), (9, 4, [9, 8, 4, 0])]
)
def test_numbers_of_kv_heads_stay_multiples(groups, multiple, left):
    """A number that is none loses the rest first."""
    attention, source = ("layer_0", "attention"), np.random.default_rng(groups)
    path, num_inputs = (*attention, "out"), 4 * groups
    rows = source.standard_normal((60, num_inputs))
    weights = {path: source.standard_normal((groups, 4, 5))}
    gates = {(*attention, "kv_heads"): np.ones(groups)}
    moments = Moments(
        {path: rows.T @ rows}, {path: rows.mean(0)}, {path: np.eye(5)}, 60
    )
    (curve,) = make_curves(weights, gates, moments, Limits(kv_heads_multiple=multiple))
    assert [groups - len(gone) for gone in curve.closed] == left
    assert curve.is_whole.tolist() == [number == 0 for number in left]


def test_limits_are_kept(material):
    limits = dict(min_mlp_dim=10, min_kv_heads=1, frozen=("layer_1",))
    curves = curves_of(material, **limits)
    assert {curve.gate[0] for curve in curves} == {"layer_0", "layer_2"}
    for curve in curves:
        assert not curve.is_whole.any()
        num_units = {"mlp": {"layer_0": 24, "layer_2": 17}}.get(curve.gate[-1], {})
        if num_units:
            assert num_units[curve.gate[0]] - len(curve.closed[-1]) >= 10


@pytest.mark.parametrize("part", [0.9, 0.7, 0.5])
@pytest.mark.parametrize("measure", ["params", "flops", "kv_bytes"])
def test_a_budget_is_met(material, measure, part):
    inventory, *_ = material
    size_fn = make_size_fn(measure, inventory)
    catalogue = Catalogue(inventory, curves_of(material), size_fn)
    budget = part * catalogue.whole
    choice = choose(catalogue, budget)
    assert choice.size == size_fn(choice.gates)
    units = [catalogue.whole / 40, 0]
    assert choice.size <= budget
    if measure != "kv_bytes":  # Its smallest unit is a KV head.
        assert choice.size > budget - units[0]


def test_smaller_budgets_cost_more(material):
    inventory, *_ = material
    catalogue = Catalogue(
        inventory, curves_of(material), make_size_fn("params", inventory)
    )
    parts = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]
    nats = [choose(catalogue, part * catalogue.whole).nats for part in parts]
    assert nats[0] == 0
    assert nats == sorted(nats)
    assert catalogue.choose(0.01 * catalogue.whole) is None
    assert catalogue.choose(catalogue.least()) is not None


def test_bits_and_units_have_one_price(material):
    inventory, weights, moments = material
    states = (FULL, 8, 4, 2)
    bit_nats = price_bits(weights, inventory, moments, states, 16)
    size_fn = make_size_fn("bytes", inventory, 16)
    curves = curves_of(material)
    mixed = Catalogue(inventory, curves, size_fn, states, bit_nats)
    units = Catalogue(inventory, curves, size_fn)
    bits = Catalogue(inventory, [], size_fn, states, bit_nats)
    budget = 0.5 * mixed.whole
    best = choose(mixed, budget)
    assert best.size <= budget
    assert best.nats <= choose(units, budget).nats
    assert best.nats <= choose(bits, budget).nats
    assert len({int(b) for own in best.bits.values() for b in own}) > 1


def test_what_healing_gives_back_moves_the_choice_from_bits_to_units(material):
    inventory, weights, moments = material
    states = (FULL, 8, 4, 2)
    bit_nats = price_bits(weights, inventory, moments, states, 16)
    parts = inventory, curves_of(material), make_size_fn("bytes", inventory, 16)
    whole = Catalogue(*parts, states, bit_nats)
    some = Catalogue(*parts, states, bit_nats, cut_factor=0.1)
    one, other = (choose(own, 0.4 * own.whole) for own in (whole, some))
    count = lambda choice: sum(gate.sum() for gate in choice.gates.values())
    assert count(other) < count(one)
    assert other.structure_nats > one.structure_nats
    bits = lambda choice: choice.nats - choice.structure_nats  # Before healing.
    assert 0 < bits(other) < bits(one)
    assert other.nats >= one.nats


def test_fewer_bits_cost_more(material):
    inventory, weights, moments = material
    found = price_bits(weights, inventory, moments, (FULL, 8, 6, 4, 3, 2), 16)
    assert ("tokens", "embedding") in found
    for nats in found.values():
        assert (np.diff(nats) > 0).all()


def test_matrices_of_a_sublayer_may_have_different_bits(material):
    """Then the same size costs no more, and the file is as large as was said."""
    inventory, weights, moments = material
    states = (FULL, 8, 4, 3, 2)
    bit_nats = price_bits(weights, inventory, moments, states, 16)
    size_fn = make_size_fn("bytes", inventory, 16)
    parts = inventory, curves_of(material), size_fn, states, bit_nats
    finer, coarser = Catalogue(*parts), Catalogue(*parts, is_finer=False)
    budget = 0.3 * finer.whole
    best, other = choose(finer, budget), choose(coarser, budget - 600)  # The table's.
    assert best.nats < other.nats
    assert any(path[-1] in ("query", "up", "gate") for path in best.bits)
    assert best.size <= budget


def test_a_units_bits_are_those_of_most_of_its_matrices():
    """Figures show units, and each of its matrices may have bits of its own."""
    axes = {
        ("mlp", "up"): ("embed", "mlp"),
        ("mlp", "gate"): ("embed", "mlp"),
        ("mlp", "down"): ("mlp", "embed"),
        ("tokens", "embedding"): ("vocab", "embed"),
    }
    own = {path: np.full(5, 4) for path in axes}
    own["mlp", "down"] = np.full(5, 8)
    found = bits_by_unit(own, axes)
    assert {key: bits.tolist() for key, bits in found.items()} == {
        ("mlp", "mlp"): [4] * 5,
        ("tokens", "embedding"): [4] * 5,
    }
    assert bits_by_matrix(own, axes)["mlp.down"] == [8]
