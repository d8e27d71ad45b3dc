"""Units with small weights are removed first: a baseline.

    score_u = |w_u|_2 / mean over the units of its gate

with w_u all weights of unit u. Norms are compared as parts of the mean of their own
gate, since layers and kinds differ in scale; then all units are ranked together.

References:
    Li et al., "Pruning Filters for Efficient ConvNets", 2017, section 3.1 (their norm
    is L1, which ranks alike).
    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
    Inference", 2017, section 2.2, for the normalisation by layer.
"""

import numpy as np
import optax

from slimjax.budget.units import Costs
from slimjax.strategies.base import SeamContext, Strategy, rank_by, relative
from slimjax.strategies.groups import host_sums


def cost(context: SeamContext) -> Costs:
    """Returns costs that rank units by the norm of their weights."""
    square = lambda weight: weight * weight
    sums = host_sums(context.inventory, square, context.params["params"])
    return rank_by(relative({p: np.sqrt(s) for p, s in sums.items()}), context)


STRATEGY = Strategy(make_gate_tx=lambda _: optax.set_to_zero(), cost=cost)
