"""The optimizer: one group for weights, one for gates, the price in the second."""

from collections.abc import Hashable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from slimjax.distill.alignment import ALIGN
from slimjax.distill.peer import PEER
from slimjax.nn.depths import DEPTHS
from slimjax.strategies.base import StepContext, Strategy
from slimjax.train.layer_rates import Rates
from slimjax.train.optim_config import OptimConfig
from slimjax.train.optimizers import make_optimizer


def make_tx(
    config: OptimConfig,
    strategy: Strategy,
    context: StepContext,
    *,
    frozen: PyTree | None = None,
    with_maps: bool = False,
    with_depths: bool = False,
    with_peer: bool = False,
    layer_rates: Rates | None = None,
) -> optax.GradientTransformation:
    """Builds the optimizer of ``{"params": weights, "gates": gates}``.

    With maps there is a third group of parameters, those of
    `slimjax.distill.alignment`, for which Adam is used; with depths one of those of
    `slimjax.nn.depths`, which the strategy moves.

    Clipping uses the norm of the weights alone. A gate's gradient does not count in
    it, and is not clipped, since strategies read its moments.

    Args:
        config: The config block.
        strategy: How gates move.
        context: What the strategy may use.
        frozen: True for gates that stay as they are; None for none.
        with_maps: Whether there are maps.
        with_depths: Whether there are depths.
        with_peer: Whether a second model learns, by the same optimizer.
        layer_rates: Factors on the learning rate of each weight; None for none. The
            price does not fall with them.
    """
    peak = config.learning_rate
    rate = lambda step: peak * context.learning_rate(step)
    weight_tx = make_optimizer(
        config,
        rate,
        keeps_curvature=context.quantize.is_on,
        layer_rates=layer_rates,
    )
    if strategy.make_weight_tx is not None:
        weight_tx = optax.chain(weight_tx, strategy.make_weight_tx(context))
    gate_tx = strategy.make_gate_tx(context)
    if any(jax.tree.leaves(frozen)):
        gate_tx = optax.chain(gate_tx, optax.stateless(partial(_freeze, frozen)))
    groups: dict[Hashable, Any] = {"weights": weight_tx, "gates": gate_tx}
    labels = {"params": "weights", "gates": "gates"}
    if with_maps:
        adam = optax.scale_by_adam(b1=config.beta1, b2=config.beta2)
        groups["maps"] = optax.chain(adam, optax.scale_by_learning_rate(rate))
        labels[ALIGN] = "maps"
    if with_depths:
        assert strategy.make_depth_tx is not None
        groups["depths"] = strategy.make_depth_tx(context)
        labels[DEPTHS] = "depths"
    if with_peer:
        groups["peer"] = make_optimizer(config, rate)
        labels[PEER] = "peer"
    return optax.partition(groups, labels)


def _freeze(frozen: PyTree, updates: PyTree, params: PyTree) -> PyTree:
    """Returns updates of 0 for gates that are frozen."""
    del params
    stay = lambda update, is_frozen: jnp.zeros_like(update) if is_frozen else update
    return updates | {"gates": jax.tree.map(stay, updates["gates"], frozen)}
