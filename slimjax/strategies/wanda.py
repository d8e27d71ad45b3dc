"""Units with small weights or small inputs are removed first: a baseline.

The score of a weight that writes to the residual stream is its absolute value times the
norm of its inputs over a batch; that of a unit is the sum over its weights:

    score_u = sum over i in u, d of |w_id| * |x_i|_2 / mean over the units of its gate

As in the paper, weights are compared within their layer: scores are divided by the mean
of their own gate, and then ranked together.

References:
    Sun et al., "A Simple and Effective Pruning Approach for Large Language Models",
    2023, section 3, equation 1.
    An et al., "Fluctuation-based Adaptive Structured Pruning", 2023, section 5.1, for
    sums over units (there Wanda-sp).
"""

import jax
import numpy as np
import optax

from slimjax.budget.units import Costs
from slimjax.strategies.base import SeamContext, Strategy, rank_by, relative
from slimjax.strategies.groups import host_sums


def cost(context: SeamContext) -> Costs:
    """Returns costs that rank units by what their writers write."""
    norms = jax.tree.map(lambda moment: np.sqrt(np.diag(moment)), context.moments())
    written = lambda w, norm: abs(w) * norm.reshape(*w.shape[:-1], 1)
    sums = host_sums(context.inventory, written, context.params["params"], norms)
    return rank_by(relative(sums), context)


STRATEGY = Strategy(make_gate_tx=lambda _: optax.set_to_zero(), cost=cost)
