"""What one seam may take from one kind of layer."""

import numpy as np
import pytest
from test_chooser import Case

from slimjax.budget.kinds import decide_within, list_kinds, part_taken
from slimjax.budget.limits import Limits
from slimjax.budget.width import WidthChooser
from slimjax.models import LayerConfig, decoder
from slimjax.nn.gates import SUBLAYER

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
