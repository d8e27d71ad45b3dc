"""Units are removed at random: the baseline that every other has to beat.

score_u ~ uniform on (0, 1), drawn from the run's seed and the number of units left.
"""

import math

import numpy as np
import optax

from slimjax.budget.units import Costs
from slimjax.nn.gates import SUBLAYER
from slimjax.strategies.base import SeamContext, Strategy, rank_by


def cost(context: SeamContext) -> Costs:
    """Returns costs that rank units at random."""
    shapes = {p: s for p, s in context.inventory.gates.items() if p[-1] != SUBLAYER}
    num_units = sum(math.prod(shape) for shape in shapes.values())
    source = np.random.default_rng([context.seed, num_units])
    scores = {path: source.uniform(1e-6, 1.0, shapes[path]) for path in sorted(shapes)}
    return rank_by(scores, context)


STRATEGY = Strategy(make_gate_tx=lambda _: optax.set_to_zero(), cost=cost)
