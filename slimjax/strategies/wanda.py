"""Units whose weights are small, or read little, go first: a baseline.

A weight that writes to the residual stream counts its size times the norm of what it
reads, over a batch, and a unit the sum of its weights:

    score_u = sum over i in u, d of |w_id| * |x_i|_2 / mean over the units of its gate

As in the paper, weights are compared within their layer: units are ranked together by
the parts that they are of the mean of their own gate.

References:
    Sun et al., "A Simple and Effective Pruning Approach for Large Language Models",
    2023, section 3, equation 1.
    An et al., "Fluctuation-based Adaptive Structured Pruning", 2023, section 5.1, for
    sums over units (there Wanda-sp).
"""

import jax
import numpy as np
import optax

from slimjax.objective.units import Costs
from slimjax.strategies.base import SeamContext, Strategy, rank_by, relative
from slimjax.strategies.groups import host_sums


def judge(context: SeamContext) -> Costs:
    """Returns costs that rank units by what their writers write."""
    norms = jax.tree.map(lambda moment: np.sqrt(np.diag(moment)), context.moments())
    written = lambda w, norm: abs(w) * norm.reshape(*w.shape[:-1], 1)
    sums = host_sums(context.inventory, written, context.params["params"], norms)
    return rank_by(relative(sums), context)


STRATEGY = Strategy(make_gate_tx=lambda _: optax.set_to_zero(), judge=judge)
