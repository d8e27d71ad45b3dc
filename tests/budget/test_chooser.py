"""What prices and budgets promise. Nothing is compiled here: costs are drawn."""

import collections
import functools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapes import models

from slimjax.budget.least import least_size
from slimjax.budget.limits import LAYER, UNITS, Limits
from slimjax.budget.width import WidthChooser
from slimjax.models import LayerConfig, decoder
from slimjax.nn.gates import CHANNELS, SUBLAYER
from slimjax.objective.inventory import take_inventory
from slimjax.objective.size import MEASURES, make_size_fn, unit_sizes
from slimjax.resize.plan import make_plan

ALL = Limits(units=UNITS)


@functools.cache
def inventory_of(config):
    lengths = {tower.name: 16 for tower in config.towers}
    return take_inventory(config.abstract_variables(), config.uses(lengths))


class Case:
    """A model with drawn costs, and who decides about it."""

    def __init__(self, config, measures=("params",), limits=ALL, seed=0):
        self.inventory, self.limits = inventory_of(config), limits
        opened = self.inventory.open_gates()
        self.size_fns = [make_size_fn(m, self.inventory) for m in measures]
        wholes = np.array([float(fn(opened)) for fn in self.size_fns])
        self.measures_all = bool((wholes > 0).all())  # Not kv_bytes without attention.
        self.wholes = np.where(wholes > 0, wholes, 1.0)
        source = np.random.default_rng(seed)
        shapes = self.inventory.gates
        self.costs = {p: source.exponential(0.01, s) for p, s in shapes.items()}
        for path in self.costs:
            if path[-1] == SUBLAYER:
                self.costs[path] = np.array(np.nan)
        for path in self.costs:
            if len(path) == 1:  # Channels of a residual stream.
                self.costs[path] *= 4 * max(len(config.layers), 1)
        self.chooser = WidthChooser(self.inventory, self.parts, self.costs, limits)

    def parts(self, gates, bits=None):
        del bits
        return np.array([float(fn(gates)) for fn in self.size_fns]) / self.wholes

    def budget(self, part):
        """Returns a budget between the least (0) and the whole (1)."""
        least = [least_size(self.inventory, fn, self.limits) for fn in self.size_fns]
        return np.array(least) / self.wholes * (1 - part) + part

    def check(self, decision, budget):
        """Asserts that a budget is met, and that nothing that went would fit in."""
        assert decision is not None
        assert (decision.sizes <= budget).all()
        np.testing.assert_array_equal(decision.sizes, self.parts(decision.gates))
        make_plan(decision.gates)  # Groups keep equal numbers of heads.
        units = self.chooser.units
        for family in (*units.channels, *units.families):
            count = family.count_closed(decision.gates)
            wholes = [decision.gates.get((*m, SUBLAYER), 1) for m in family.modules]
            if count and all(wholes):
                gates = {p: g.copy() for p, g in decision.gates.items()}
                for path, indices in family.steps[count - 1]:
                    gates[path][indices] = 1.0
                assert (self.parts(gates) > budget).any()

    def cheapest(self, gates):
        """Returns the sizes of the cheapest unit that could still go, by measure.

        When all have gone, it is what could come back, of which nothing fits.
        """
        units, sizes = self.chooser.units, self.parts(gates)
        patches = []
        for family in (*units.channels, *units.families):
            wholes = [gates.get((*m, SUBLAYER), 1) for m in family.modules]
            for step in family.steps[family.count_closed(gates) :][: all(wholes)]:
                patches.append({path: gates[path].copy() for path, _ in step})
                for path, indices in step:
                    patches[-1][path][indices] = 0.0
        patches += [{s.path: np.zeros(())} for s in units.sublayers if gates[s.path]]
        found = [sizes - self.parts(gates | patch) for patch in patches]
        found = [size for size in found if size.max() > 0]
        return np.min(found, axis=0) if found else np.ones_like(sizes)


def draw_configs(num):
    """Returns ragged models of some thousand weights."""
    source = np.random.default_rng(0)
    pick = lambda *values: int(source.choice(values))
    for _ in range(num):
        layers = []
        for _ in range(pick(2, 3, 4)):
            groups, flags = pick(1, 2, 4), source.random(2) < 0.9 + (not layers)
            shape = (groups * pick(1, 2, 3), groups, pick(4, 8, 16), pick(24, 61, 128))
            layers.append(LayerConfig(*shape, *map(bool, flags)))
        yield decoder(pick(31, 64), pick(24, 33, 64), tuple(layers))


CONFIGS = tuple(draw_configs(2 * settings.default.max_examples))


def check_a_request(config, measure, i):
    """Asserts that a budget is met, and missed by less than the cheapest unit."""
    case = Case(config, [measure], seed=i)
    budget = case.budget((0.1, 0.3, 0.5, 0.8, 0.95)[i % 5])
    decision = case.chooser.at_budget(budget)
    case.check(decision, budget)
    allowed = np.maximum(0.01 * budget, case.cheapest(decision.gates))
    assert budget - decision.sizes <= allowed + 1e-9


@pytest.mark.parametrize("measure", [*MEASURES, "0.5*params+0.5*kv_bytes"])
def test_a_request_is_never_exceeded_and_missed_by_less_than_the_cheapest_unit(measure):
    for i, config in enumerate(CONFIGS):
        check_a_request(config, measure, i)


@pytest.mark.parametrize(("measure", "i"), [("flops", 24), ("kv_bytes", 28)])
def test_a_wider_stream_or_a_whole_sublayer_closes_a_gap(measure, i):
    check_a_request(list(draw_configs(i + 1))[i], measure, i)


@pytest.mark.parametrize("measures", [("bytes", "kv_bytes"), ("params", "flops")])
def test_several_budgets_are_met_together_and_one_of_them_nearly(measures):
    for i, config in enumerate(CONFIGS):
        limits = Limits(units=UNITS, width_multiple=8)
        case = Case(config, measures, limits, seed=i)
        budget = case.budget(np.roll([0.3, 0.6], i))
        decision = case.chooser.at_budget(budget)
        case.check(decision, budget)
        allowed = np.maximum(0.01 * budget, case.cheapest(decision.gates))
        assert (budget - decision.sizes <= allowed + 1e-9).any()


@given(models(), st.floats(0.0, 1.0), st.sampled_from(MEASURES), st.integers(0, 99))
def test_a_tiny_model_gets_as_large_as_a_budget_lets_it(config, part, measure, seed):
    limits = Limits(units=UNITS, min_layers=seed % 3, min_width=1 + seed % 2)
    case = Case(config, [measure], limits, seed=seed)
    assume(case.measures_all)
    budget = case.budget(part)
    case.check(case.chooser.at_budget(budget), budget)


@given(models(), st.integers(0, 100))
def test_a_higher_price_never_leaves_a_larger_model(config, seed):
    chooser = Case(config, seed=seed, limits=Limits()).chooser
    sizes = [chooser.at_price(alpha).sizes[0] for alpha in (0, 0.01, 0.1, 1, 10, 1e4)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 1.0


def test_at_a_price_exactly_those_go_that_are_not_worth_it():
    config = decoder(16, 8, (LayerConfig(2, 2, 4, 6),))
    case = Case(config, limits=Limits(min_kv_heads=2, min_mlp_dim=1))
    path = ("layer_0", "mlp", "mlp")
    weight = unit_sizes(case.parts, case.inventory.open_gates())[path][0]
    family = next(f for f in case.chooser.units.families if f.axis == "mlp")
    alpha = (family.costs[2] + family.costs[3]) / 2 / weight
    decision = case.chooser.at_price(alpha)
    assert decision.gates[path].sum() == 6 - 3
    assert decision.predicted_loss_change == pytest.approx(family.costs[:3].sum())
    assert decision.alpha == alpha


def test_the_width_goes_when_its_channels_are_cheap_and_else_stays():
    config = decoder(16, 32, (LayerConfig(2, 2, 4, 16),) * 2)
    case = Case(config, limits=Limits(units=UNITS, width_multiple=4))
    for cost, is_narrower in ((1e-6, True), (10.0, False)):
        case.costs[(CHANNELS,)][:] = cost
        chooser = WidthChooser(case.inventory, case.parts, case.costs, case.limits)
        width = chooser.at_budget(case.budget(0.4)).gates[(CHANNELS,)].sum()
        assert (width < 32) == is_narrower
        assert width % 4 == 0


def test_a_layer_goes_at_the_cost_of_the_whole_of_it():
    config = decoder(16, 8, (LayerConfig(2, 2, 4, 6),) * 3)
    case = Case(config)
    for path in case.costs:
        if path[-1] == SUBLAYER:
            case.costs[path] = np.array(1.0)
    case.costs |= {
        (f"layer_{i}", LAYER): np.array(cost) for i, cost in enumerate((5.0, 1e-3, 5.0))
    }
    chooser = WidthChooser(case.inventory, case.parts, case.costs, Limits())
    gates = chooser.at_price(0.02).gates
    closed = {
        path[0] for path, gate in gates.items() if path[-1] == SUBLAYER and not gate
    }
    assert closed == {"layer_1"}


def test_as_many_layers_stay_as_must_and_none_without_a_sublayer():
    config = decoder(16, 8, (LayerConfig(2, 2, 4, 6), LayerConfig(2, 1, 4, 5)) * 2)
    for limits in (Limits(min_layers=3), Limits(units=("sublayer",))):
        gates = Case(config, limits=limits).chooser.at_price(1e12).gates
        opened = [path[0] for path, g in gates.items() if path[-1] == SUBLAYER and g]
        assert len(opened) == len(set(opened)) == (limits.min_layers or 4)


@pytest.mark.parametrize("units", [(LAYER,), (LAYER, "mlp")])
def test_where_layers_go_and_sublayers_do_not_each_is_whole_or_empty(units):
    config = decoder(16, 8, (LayerConfig(4, 2, 4, 12),) * 4)
    for seed, part in enumerate((0.2, 0.4, 0.6, 0.8)):
        case = Case(config, limits=Limits(units=units), seed=seed)
        gates = case.chooser.at_budget(case.budget(part)).gates
        opened = [path[0] for path, g in gates.items() if path[-1] == SUBLAYER and g]
        assert set(collections.Counter(opened).values()) <= {2}


def test_widths_stay_multiples():
    config = decoder(16, 30, (LayerConfig(4, 4, 4, 37), LayerConfig(8, 4, 4, 24)))
    multiples = dict(multiple=8, kv_heads_multiple=2, width_multiple=8)
    case = Case(config, limits=Limits(units=UNITS, **multiples))
    for part in (0.1, 0.3, 0.5, 0.7, 0.9):
        gates = case.chooser.at_budget(case.budget(part)).gates
        count = lambda axis, g=gates: [
            int(x.sum()) for p, x in g.items() if p[-1] == axis
        ]
        assert all(n % 8 == 0 or n in (37, 24) for n in count("mlp"))
        assert all(n % 2 == 0 for n in count("kv_heads"))
        assert all(n % 8 == 0 or n == 30 for n in count(CHANNELS))


def test_uniform_layers_stay_alike_and_none_goes():
    config = decoder(16, 8, (LayerConfig(6, 3, 4, 12),) * 3)
    case = Case(config, limits=Limits(units=UNITS, uniform=True))
    for part in (0.0, 0.3, 0.6, 0.8):
        budget = case.budget(part)
        decision = case.chooser.at_budget(budget)
        case.check(decision, budget)
        for axis in ("kv_heads", "mlp"):
            counts = {int(g.sum()) for p, g in decision.gates.items() if p[-1] == axis}
            assert len(counts) == 1
            assert counts.pop() >= 1
        assert all(g == 1 for p, g in decision.gates.items() if p[-1] == SUBLAYER)


def test_what_is_frozen_stays_and_so_does_what_it_is_part_of():
    config = decoder(16, 8, (LayerConfig(6, 3, 4, 12),) * 3)
    frozen = ("layer_0", "layer_1.mlp.mlp", "layer_2.*.heads", CHANNELS)
    case = Case(config, limits=Limits(units=UNITS, frozen=frozen))
    gates = case.chooser.at_price(1e12).gates
    kept = {path for path, gate in gates.items() if gate.all()}
    layer_0 = {path for path in gates if path[0] == "layer_0"}
    layer_1 = {("layer_1", "mlp", "mlp"), ("layer_1", "mlp", SUBLAYER)}
    attention = ("layer_2", "attention")
    layer_2 = {(*attention, name) for name in ("heads", "kv_heads", SUBLAYER)}
    assert layer_0 | layer_1 | layer_2 | {(CHANNELS,)} <= kept
    assert (
        gates["layer_2", "mlp", SUBLAYER]
        == gates["layer_1", "attention", SUBLAYER]
        == 0
    )


def test_no_family_loses_more_than_the_fraction_allowed():
    config = decoder(16, 8, (LayerConfig(8, 8, 4, 40),) * 2)
    limits = Limits(units=UNITS, max_fraction=0.25, min_kv_heads=1, min_mlp_dim=1)
    chooser = Case(config, limits=limits).chooser
    gates = chooser.at_price(1e6).gates
    assert all(
        g.mean() >= 0.75
        for p, g in gates.items()
        if p[-1] in ("kv_heads", "mlp", CHANNELS)
    )
    assert chooser.at_budget(0.001) is None
