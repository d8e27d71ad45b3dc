"""What a cautious search takes from one kind of sublayer, by all measures."""

import json

import numpy as np
from stages import make_stage

from slimjax.budget.kinds import list_kinds, part_taken
from slimjax.nn.gates import SUBLAYER
from slimjax.train.search import Search


def search_of(**budgets):
    """Returns the search of four layers whose MLPs are nearly free."""
    changes = ("model.num_layers", "4"), ("objective.budget", "")
    blueprint = make_stage(
        *changes,
        ("objective.strategy", "exchange"),
        ("objective.budgets", json.dumps(budgets)),
    ).blueprint
    costs = {}
    for path, shape in blueprint.inventory.gates.items():
        cost = 1e-3 if path[1:2] == ("mlp",) else 1.0
        units = path[-1] != SUBLAYER
        costs[path] = np.full(shape, cost / shape[0]) if units else np.array(cost)
    return Search(blueprint, costs)


def test_what_a_kind_loses_counts_in_each_measure():
    one = search_of(params="75%")
    both = search_of(kv_bytes="100%", params="75%")
    assert both.blueprint.run.objective.measures[0] == "kv_bytes"  # MLPs have none.
    decision, other = one.at_budget(np.array([0.75])), both.at_budget([1.0, 0.75])
    assert decision is not None
    assert other is not None
    for path, gate in decision.gates.items():
        np.testing.assert_array_equal(other.gates[path], gate)
    inventory, size_fn = one.blueprint.inventory, one.blueprint.size_fn("params")
    for modules in list_kinds(inventory).values():
        assert part_taken(modules, decision.gates, inventory, size_fn) <= 0.5
