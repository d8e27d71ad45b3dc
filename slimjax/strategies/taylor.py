"""Units whose gates change the loss least are removed first: a baseline.

To first order, closing unit u changes the loss by ``dL/dgate_u``; its importance is the
mean over batches of the square,

    I_u = E[(dL/dgate_u)^2]

It needs no normalisation, and all units are ranked together by importance per unit
of size. It is what `exchange` starts from, without the probes that bring it to nats.

References:
    Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019,
    section 3.1, equation 8 and "Gate after batch normalization".
    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
    Inference", 2017, section 2.3, for weighing importance against cost.
"""

from slimjax.budget.units import Costs
from slimjax.nn.gates import SUBLAYER
from slimjax.objective.price import (
    GateMoments,
    corrected_second_moment,
    track_gate_moments,
)
from slimjax.strategies.base import (
    SeamContext,
    Strategy,
    find_state,
    host_gates,
    sublayers_last,
)


def cost(context: SeamContext) -> Costs:
    """Returns the importance of units."""
    moments = find_state(context.opt_state, GateMoments)
    costs = host_gates(corrected_second_moment(moments)["gates"])
    units = {path: cost for path, cost in costs.items() if path[-1] != SUBLAYER}
    return sublayers_last(units, context.inventory)


STRATEGY = Strategy(make_gate_tx=lambda _: track_gate_moments(), cost=cost)
