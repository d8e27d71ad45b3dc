"""What one seam may take from one kind of layer."""

import numpy as np
import pytest
from test_chooser import Case

from slimjax.budget.decision import Decision
from slimjax.budget.kinds import decide_within, list_kinds, part_taken
from slimjax.budget.limits import Limits
from slimjax.budget.width import WidthChooser
from slimjax.models import LayerConfig, decoder
from slimjax.nn.gates import SUBLAYER
from slimjax.objective.inventory import Inventory, Leaf
from slimjax.objective.size import make_size_fn

CONFIG = decoder(16, 8, (LayerConfig(4, 2, 4, 12),) * 4)


def test_kinds_are_all_attentions_and_all_mlps():
    inventory = Case(CONFIG).inventory
    kinds = list_kinds(inventory)
    assert set(kinds) == {"*.attention", "*.mlp"}
    assert kinds["*.mlp"] == [(f"layer_{i}", "mlp") for i in range(4)]


@pytest.mark.parametrize("max_fraction", [0.25, 0.5, 1.0])
def test_no_kind_loses_more_than_its_part(max_fraction):
    case = Case(CONFIG)
    inventory, size_fn = case.inventory, case.size_fns[0]
    source = np.random.default_rng(1)
    costs = {p: source.exponential(1.0, s) for p, s in inventory.gates.items()}
    for path in costs:  # Whole attentions are nearly free, single units are not.
        cheap = path[-1] == SUBLAYER and path[-2] == "attention"
        costs[path] = np.array(1e-3 * source.random()) if cheap else costs[path]
    limits = Limits(max_fraction=0.25)
    tell = lambda costs: WidthChooser(inventory, case.parts, costs, limits).at_price(
        0.1
    )
    taken = lambda kind, decision: part_taken(
        list_kinds(inventory)[kind], decision.gates, inventory, size_fn
    )
    assert taken("*.attention", tell(costs)) == 1.0
    decision = decide_within(max_fraction, tell, costs, inventory, size_fn)
    assert taken("*.attention", decision) <= max_fraction
    assert taken("*.attention", decision) > max_fraction - 0.25 - 1e-9
    dear = max((p for p in costs if p[-2:] == ("attention", SUBLAYER)), key=costs.get)
    assert decision.gates[dear] == (1 if max_fraction < 1 else 0)  # The dearest stays.


MLP, ATTENTION = 360, 100
"""Weights of the sublayers below."""


def two_layers():
    """Returns a model with sublayers that go as a whole, and how large it is."""
    weights = {"attention": ATTENTION, "mlp": MLP}
    modules = {(f"layer_{i}", name): n for i in (0, 1) for name, n in weights.items()}
    leaves = [Leaf((*m, "kernel"), (n,), ("x",)) for m, n in modules.items()]
    table = Leaf(("table",), (60, 1), ("vocab", "embed"))
    gates = {(*module, SUBLAYER): () for module in modules}
    inventory = Inventory((table, *leaves), gates)
    return inventory, make_size_fn("params", inventory)


def decide_each(inventory, size_fn, costs, budget):
    """Returns the decision that takes half of each kind at most, and all before it."""
    whole, found = float(size_fn(inventory.open_gates())), []
    parts = lambda gates, _=None: np.array([float(size_fn(gates)) / whole])
    limits = Limits(units=("sublayer", "layer"))

    def decide(costs):
        assert len(found) <= len(inventory.gates), "The same is decided for ever."
        found.append(WidthChooser(inventory, parts, costs, limits).at_budget(budget))
        return found[-1]

    return decide_within(0.5, decide, costs, inventory, size_fn), found


@pytest.mark.parametrize(("budget", "num_open"), [(0.55, 2), (0.48, None)])
def test_what_must_stay_does_not_go_for_the_sake_of_a_budget(budget, num_open):
    inventory, size_fn = two_layers()
    costs = {path: np.array(1.0) for path in inventory.gates}
    for i, cost in enumerate((7.0, 5.0)):
        costs[f"layer_{i}", "mlp", SUBLAYER] = np.array(cost)
    decision, found = decide_each(inventory, size_fn, costs, budget)
    assert all(np.isfinite(d.predicted_loss_change) for d in found if d is not None)
    assert (decision is None) is (num_open is None)  # One of each kind is too large.
    if decision is not None:
        assert decision.sizes <= budget
        assert sum(map(int, decision.gates.values())) == num_open


def test_where_what_must_stay_goes_all_the_same_there_is_no_decision():
    inventory, size_fn = two_layers()
    costs = {path: np.array(1.0) for path in inventory.gates}
    gates = {path: np.zeros(()) for path in costs}
    stubborn = Decision(gates, np.ones(1), 4.0, np.zeros(1))
    calls = iter(range(9))
    decide = lambda _: stubborn if next(calls) < 8 else pytest.fail("for ever")
    assert decide_within(0.5, decide, costs, inventory, size_fn) is None
