"""What holds for models of several towers, several widths, and parts outside of layers.

The inventories are made by hand: nothing here needs a model.
"""

import numpy as np
import pytest

from slimjax.budget.kinds import list_kinds
from slimjax.budget.least import least_size
from slimjax.budget.limits import UNITS, Limits
from slimjax.budget.units import list_units
from slimjax.budget.width import WidthChooser
from slimjax.models import HeadConfig, LayerConfig, Parts, fusion
from slimjax.models.paths import layer_name
from slimjax.models.use import Use
from slimjax.nn.gates import SUBLAYER
from slimjax.nn.pictures import Picture, Stage
from slimjax.objective.inventory import Inventory, Leaf, take_inventory
from slimjax.objective.size import make_size_fn

ENCODER, DECODER = "encoder_embed", "embed"


def mlp(module, num_units, width, axis):
    """Returns the weights and gates of an MLP."""
    up = Leaf((*module, "up"), (width, num_units), (axis, "mlp"), Use(1.0))
    down = Leaf((*module, "down"), (num_units, width), ("mlp", axis), Use(1.0))
    gates = {(*module, "mlp"): (num_units,), (*module, SUBLAYER): ()}
    return [up, down], gates


def two_towers(widths=(6, 8), num_layers=2):
    """Returns an encoder and a decoder, each with MLPs, and a head at the decoder."""
    leaves = [Leaf(("tokens", "embedding"), (11, widths[1]), ("vocab", DECODER))]
    gates = {(ENCODER,): widths[:1], (DECODER,): widths[1:]}
    for i in range(num_layers):
        for tower, width, axis in ((("encoder",), 0, ENCODER), ((), 1, DECODER)):
            module = (*tower, layer_name(i), "mlp")
            own, own_gates = mlp(module, 5 + width, widths[width], axis)
            leaves, gates = leaves + own, gates | own_gates
    bridge = (widths[0], widths[1])
    leaves.append(Leaf(("bridge",), bridge, (ENCODER, DECODER), Use(1.0)))
    return Inventory(tuple(leaves), gates)


def costs_of(inventory, seed=0):
    source = np.random.default_rng(seed)
    costs = {p: source.exponential(0.01, s) for p, s in inventory.gates.items()}
    unknown = {p: np.array(np.nan) for p in costs if p[-1] == SUBLAYER}
    return costs | unknown


def chooser_of(inventory, costs, limits):
    size_fn = make_size_fn("params", inventory)
    whole = float(size_fn(inventory.open_gates()))
    parts = lambda gates, bits=None: np.array([float(size_fn(gates)) / whole])  # noqa: ARG005
    return WidthChooser(inventory, parts, costs, limits)


def test_uniform_ties_the_layers_of_a_tower_and_never_two_towers():
    inventory = two_towers()
    units = list_units(inventory, costs_of(inventory), Limits(uniform=True))
    modules = {family.modules for family in units.families}
    names = [layer_name(i) for i in range(2)]
    assert modules == {
        tuple((name, "mlp") for name in names),
        tuple(("encoder", name, "mlp") for name in names),
    }


def test_a_kind_is_of_one_tower_and_one_place():
    kinds = list_kinds(two_towers())
    assert {kind: len(modules) for kind, modules in kinds.items()} == {
        "encoder.*.mlp": 2,
        "*.mlp": 2,
    }


def test_every_residual_width_is_a_family_of_units():
    inventory = two_towers()
    limits = Limits(units=UNITS, min_width=3)
    units = list_units(inventory, costs_of(inventory), limits)
    assert {family.axis for family in units.channels} == {ENCODER, DECODER}
    assert {len(family.steps) for family in units.channels} == {6 - 3, 8 - 3}
    assert not any(family.axis in (ENCODER, DECODER) for family in units.families)


@pytest.mark.parametrize("cheap", [ENCODER, DECODER])
def test_the_width_whose_channels_are_cheap_is_narrowed(cheap):
    inventory = two_towers(widths=(24, 32), num_layers=1)
    costs = costs_of(inventory)
    costs |= {(axis,): costs[(axis,)] * 0 + 10.0 for axis in (ENCODER, DECODER)}
    costs[(cheap,)] = costs[(cheap,)] * 1e-6
    for path in costs:
        costs[path] = costs[path] + (10.0 if path[-1] in ("mlp", SUBLAYER) else 0.0)
    chooser = chooser_of(inventory, costs, Limits(units=UNITS))
    gates = chooser.at_budget(0.8).gates
    for axis in (ENCODER, DECODER):
        assert gates[(axis,)].all() == (axis != cheap)


def test_a_budget_that_only_two_narrower_widths_meet_is_met():
    inventory = two_towers(widths=(24, 32))
    limits = Limits(units=("embed",))
    chooser = chooser_of(inventory, costs_of(inventory), limits)
    size_fn = make_size_fn("params", inventory)
    whole = float(size_fn(inventory.open_gates()))
    least = least_size(inventory, size_fn, limits) / whole
    decision = chooser.at_budget(1.05 * least)
    assert decision is not None
    assert decision.sizes[0] <= 1.05 * least


def with_fusion(inventory):
    """Adds two sublayers outside of layers."""
    leaves, gates = list(inventory.leaves), dict(inventory.gates)
    for name in ("adapter", "fusion"):
        own, own_gates = mlp((name,), 4, 8, DECODER)
        leaves, gates = leaves + own, gates | own_gates
    return Inventory(tuple(leaves), gates)


def test_sublayers_outside_of_layers_are_units_of_their_own():
    inventory = with_fusion(two_towers())
    costs = costs_of(inventory)
    for path in costs:
        costs[path] = np.full_like(costs[path], 10.0)
    costs["fusion", SUBLAYER] = np.array(0.0)
    for limits in (Limits(), Limits(min_layers=2), Limits(units=(SUBLAYER,))):
        gates = chooser_of(inventory, costs, limits).at_price(0.1).gates
        closed = {path for path, gate in gates.items() if not gate.all()}
        assert closed == {("fusion", SUBLAYER)}
    kinds = list_kinds(inventory)
    assert kinds["fusion"] == [("fusion",)]
    units = list_units(inventory, costs, Limits(uniform=True))
    assert {f.modules for f in units.families} >= {(("fusion",),), (("adapter",),)}


def test_all_that_can_be_removed_outside_of_layers_is_not_in_the_least_size():
    plain = two_towers()
    inventory = with_fusion(plain)
    least = lambda inventory, limits: least_size(
        inventory, make_size_fn("params", inventory), limits
    )
    assert least(inventory, Limits()) == least(plain, Limits())
    frozen = Limits(frozen=("fusion",))
    assert least(inventory, frozen) == least(plain, Limits()) + 2 * 4 * 8
    # Each tower keeps a layer.
    kept = 2 * 5 * 6 + 2 * 6 * 8
    floors = Limits(min_layers=1, units=("mlp", "sublayer", "layer"), multiple=100)
    assert least(plain, floors) == least(plain, Limits()) + kept


def test_flops_are_those_of_what_is_multiplied():
    """A table that is only looked up, and biases, multiply nothing."""
    leaves = (
        Leaf(("tokens", "embedding"), (1000, 8), ("vocab", "embed"), Use()),
        Leaf(("head", "kernel"), (3, 8), ("classes", "embed"), Use(1.0)),
        Leaf(("head", "bias"), (1, 3), ("bias", "classes"), Use()),
        Leaf(("query",), (8, 2, 4), ("embed", "heads", "head_dim"), Use(5.0, 7.0)),
    )
    size_fn = make_size_fn("flops", Inventory(leaves, {}))
    attention = 2 * 5 * (8 * 2 * 4) + 4 * 5 * 7 * (2 * 4)
    assert size_fn({}) == 2 * 3 * 8 + attention


SMALL = LayerConfig(2, 2, 4, 12)
ACROSS = LayerConfig(0, 0, 4, 12, False, cross_heads=2, cross_kv_heads=2)
STAGES = (Stage(12, pool=2), Stage(16, pool=2))
FUSED = fusion(
    24,
    Parts(20, (), 16, (SMALL,), (ACROSS,), 24, (SMALL,)),
    heads=(HeadConfig("answer", 5, at="mean"),),
    picture=Picture(8, 8, 3, STAGES),
    num_positions=7,
)


@pytest.mark.parametrize(("measure", "part"), [("params", 0.5), ("flops", 0.25)])
def test_one_budget_is_met_over_filters_and_layers_of_all_towers(measure, part):
    inventory = take_inventory(FUSED.abstract_variables(), FUSED.uses({"text": 7}))
    size_fn = make_size_fn(measure, inventory)
    whole = float(size_fn(inventory.open_gates()))
    parts = lambda gates, bits=None: np.array([float(size_fn(gates)) / whole])  # noqa: ARG005
    chooser = WidthChooser(inventory, parts, costs_of(inventory), Limits())
    decision = chooser.at_budget(part)
    assert decision is not None
    assert 0.98 * part <= decision.sizes[0] <= part
    kept = {path: gate.sum() for path, gate in decision.gates.items()}
    assert all(kept["image", "convolution", f"filters_{n}"] >= 1 for n in (0, 1))
    towers = {path[0] for path, gate in decision.gates.items() if not gate.all()}
    assert {"image", "text", "mixed"} <= towers


def test_filters_are_never_all_removed():
    inventory = take_inventory(FUSED.abstract_variables(), FUSED.uses({"text": 7}))
    size_fn = make_size_fn("params", inventory)
    whole = float(size_fn(inventory.open_gates()))
    parts = lambda gates, bits=None: np.array([float(size_fn(gates)) / whole])  # noqa: ARG005
    chooser = WidthChooser(inventory, parts, costs_of(inventory), Limits())
    gates = chooser.at_price(1e9).gates
    kept = {path[-1]: int(gate.sum()) for path, gate in gates.items()}
    assert (kept["filters_0"], kept["filters_1"]) == (1, 1)
