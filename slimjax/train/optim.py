"""The optimizer: one group for weights, one for gates, the price in the second."""

import dataclasses
import math
from collections.abc import Hashable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from slimjax.distill.alignment import ALIGN
from slimjax.errors import ConfigError
from slimjax.models.runs import is_stacked
from slimjax.nn.depths import DEPTHS
from slimjax.strategies.base import StepContext, Strategy
from slimjax.train.adamw import adamw

DECAYS = ("cosine", "linear")
"""Ways in which the learning rate falls."""


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW with warm-up, a plateau and a decay.

    Attributes:
        learning_rate: Peak.
        warmup_steps: Steps of linear rise from 0.
        decay: How the rate falls from its peak: ``cosine`` or ``linear``.
        decay_fraction: Part of the steps, at the end, in which it falls; before, it
            stays at the peak.
        final_fraction: Learning rate at the last step, as a part of the peak.
        weight_decay: Decoupled, of matrices only, scaled by the learning rate.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        clip_norm: Largest global norm of the weights' gradients; 0 for no limit.
        accumulation_steps: Parts that a batch is cut into, one after the other.
        ema_decay: Decay of an average of the weights, used in the end; 0 for none.
    """

    learning_rate: float = 3e-3
    warmup_steps: int = 50
    decay: str = "cosine"
    decay_fraction: float = 1.0
    final_fraction: float = 0.05
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.98
    clip_norm: float = 1.0
    accumulation_steps: int = 1
    ema_decay: float = 0.0

    def __post_init__(self):
        """Refuses values with which nothing can be learned."""
        if self.decay not in DECAYS:
            raise ConfigError(
                f"config.optim.decay={self.decay!r} must be one of {DECAYS}."
            )
        below_one = ("beta1", "beta2", "ema_decay")
        for name, value in dataclasses.asdict(self).items():
            if name == "decay":
                continue
            wrong = value < 0 or not math.isfinite(value)
            if wrong or (name in below_one and value >= 1):
                bound = "in [0, 1)" if name in below_one else "0 or more"
                raise ConfigError(f"config.optim.{name}={value} must be {bound}.")
        if self.learning_rate == 0 or self.accumulation_steps < 1:
            name = "accumulation_steps" if self.learning_rate else "learning_rate"
            raise ConfigError(f"config.optim.{name} must be above 0.")

    def schedule(self, num_steps: int) -> optax.Schedule:
        """Returns the learning rate by step, as a part of its peak."""
        warmup = min(self.warmup_steps, num_steps)
        begin = max(warmup, num_steps - round(self.decay_fraction * num_steps))
        length = max(num_steps - begin, 1)
        rise = optax.linear_schedule(1.0 / max(warmup, 1), 1.0, warmup)
        fall = {
            "cosine": optax.cosine_decay_schedule(1.0, length, self.final_fraction),
            "linear": optax.linear_schedule(1.0, self.final_fraction, length),
        }[self.decay]
        schedules = [rise, optax.constant_schedule(1.0), fall]
        return optax.join_schedules(schedules, [warmup, begin])


def make_tx(
    config: OptimConfig,
    strategy: Strategy,
    context: StepContext,
    *,
    held: PyTree | None = None,
    with_maps: bool = False,
    with_depths: bool = False,
) -> optax.GradientTransformation:
    """Builds the optimizer of ``{"params": weights, "gates": gates}``.

    With maps there is a third group of parameters, those of
    `slimjax.distill.alignment`, which plain Adam learns; with depths one of those of
    `slimjax.nn.depths`, which the strategy moves.

    Clipping heeds the weights alone: a gate's gradient neither shortens theirs, nor
    is shortened, since strategies read its moments.

    Args:
        config: The config block.
        strategy: Who moves the gates.
        context: What it may use.
        held: True for gates that stay as they are; None for none.
        with_maps: Whether there are maps.
        with_depths: Whether there are depths.
    """
    peak = config.learning_rate
    rate = lambda step: peak * context.learning_rate(step)
    weight_tx = adamw(
        rate,
        beta1=config.beta1,
        beta2=config.beta2,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        decays=are_matrices,
    )
    if strategy.make_weight_tx is not None:
        weight_tx = optax.chain(weight_tx, strategy.make_weight_tx(context))
    gate_tx = strategy.make_gate_tx(context)
    if any(jax.tree.leaves(held)):
        gate_tx = optax.chain(gate_tx, optax.stateless(partial(_hold, held)))
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
    return optax.partition(groups, labels)


def are_matrices(params: PyTree) -> PyTree:
    """Returns True for weights with two axes or more in their layer: no norms."""

    def is_matrix(keys: tuple, weight: jax.Array) -> bool:
        return weight.ndim - is_stacked(keys) > 1

    return jax.tree_util.tree_map_with_path(is_matrix, params)


def _hold(held: PyTree, updates: PyTree, params: PyTree) -> PyTree:
    """Returns updates of 0 for what is held."""
    del params
    stay = lambda update, is_held: jnp.zeros_like(update) if is_held else update
    return updates | {"gates": jax.tree.map(stay, updates["gates"], held)}
