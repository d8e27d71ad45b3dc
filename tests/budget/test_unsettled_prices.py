"""Several budgets whose prices need not settle: one that rises leaves more of another.

Where MLPs are dear, attentions stay for them, and the other way round.
"""

import numpy as np
import pytest
from test_chooser import Case

from slimjax.budget.limits import LAYER, Limits
from slimjax.budget.width import WidthChooser
from slimjax.models import LayerConfig, decoder
from slimjax.nn.gates import SUBLAYER

CONFIG = decoder(16, 8, (LayerConfig(4, 2, 4, 16),) * 2)
LIMITS = Limits(units=("kv_heads", SUBLAYER, LAYER))


def choose(seed):
    """Returns who decides about two layers with drawn costs."""
    case, source = Case(CONFIG, ("kv_bytes", "params"), LIMITS), np.random
    draw, costs = source.default_rng(seed).exponential, {}
    for path, old in case.costs.items():
        scale = 1.0 if path[-1] == SUBLAYER else 0.5 / old.size
        costs[path] = np.array(scale * draw(size=old.shape))
    for i in range(len(CONFIG.layers)):
        inside = (costs[f"layer_{i}", name, SUBLAYER] for name in ("attention", "mlp"))
        costs[f"layer_{i}", LAYER] = np.array(1.2 * sum(inside))
    return WidthChooser(case.inventory, case.parts, costs, LIMITS)


@pytest.mark.parametrize(
    ("seed", "budget"), [(45, [0.47, 0.59]), (256, [0.44, 0.58]), (824, [0.4, 0.61])]
)
def test_budgets_are_met_at_prices_that_are_no_higher_than_they_must(seed, budget):
    decision = choose(seed).at_budget(np.array(budget))
    assert (decision.sizes <= budget).all()
    assert decision.alphas.max() < 100
    at_price = choose(seed).at_price(decision.alphas)
    assert (at_price.sizes <= budget).all()
    lower = choose(seed).at_price(0.999 * decision.alphas)
    assert not (lower.sizes <= budget).all()
