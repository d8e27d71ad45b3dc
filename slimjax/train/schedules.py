"""The learning rate by step: warm-up, plateau, decay."""

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from slimjax.train.optim_config import OptimConfig


def make_schedule(config: OptimConfig, num_steps: int) -> optax.Schedule:
    """Returns the learning rate by step, as a part of its peak.

    It rises for ``warmup_steps``, stays at 1, and falls in the last ``decay_fraction``
    of the steps, but not before it has risen. Without a fall nothing in it depends on
    the number of steps, so that pieces of a plateau share their compiled programs.

    Args:
        config: The config block.
        num_steps: Steps of the run.

    References:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
        2017, section 3 (cosine and its restarts).
        Vaswani et al., "Attention Is All You Need", 2017, equation 3 (inverse_sqrt).

    Examples:
        >>> config = OptimConfig(warmup_steps=0, decay="step", decay_every_steps=4)
        >>> rate = make_schedule(config, num_steps=10)
        >>> [float(rate(step)) for step in (0, 3, 4, 8)]
        [1.0, 1.0, 0.5, 0.25]
    """
    warmup = min(config.warmup_steps, num_steps)
    begin = max(warmup, num_steps - round(config.decay_fraction * num_steps))
    rise = optax.linear_schedule(1.0 / max(warmup, 1), 1.0, warmup)
    plateau = optax.constant_schedule(1.0)
    if begin == num_steps:
        return optax.join_schedules([rise, plateau], [warmup])
    fall = _make_fall(config, begin, num_steps - begin)
    return optax.join_schedules([rise, plateau, fall], [warmup, begin])


def _make_fall(config: OptimConfig, begin: int, length: int) -> optax.Schedule:
    """Returns the decay by its own step, which is 0 at step `begin` of the run."""
    final = config.final_fraction
    if config.decay == "cosine":
        return _cosine(length, final, config.decay_restarts)
    if config.decay == "linear":
        return optax.linear_schedule(1.0, final, length)
    if config.decay == "inverse_sqrt":
        return _inverse_sqrt(max(begin, 1), final)
    if config.decay == "constant":
        return optax.constant_schedule(1.0)
    return optax.exponential_decay(
        1.0,
        config.decay_every_steps or max(length // 10, 1),
        config.decay_rate,
        staircase=config.decay == "step",
        end_value=final,
    )


def _cosine(length: int, final: float, num_restarts: int) -> optax.Schedule:
    """Returns equal arcs from 1 to `final`, one after the other."""
    if not num_restarts:
        return optax.cosine_decay_schedule(1.0, length, final)
    ends = [length * (i + 1) // (num_restarts + 1) for i in range(num_restarts + 1)]
    lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    arcs = [optax.cosine_decay_schedule(1.0, max(own, 1), final) for own in lengths]
    return optax.join_schedules(arcs, ends[:-1])


def _inverse_sqrt(begin: int, final: float) -> optax.Schedule:
    """Returns ``sqrt(begin / (begin + step))``: 1 at its start, then as 1 / sqrt."""

    def rate(step: Any) -> Float[Array, ""]:
        return jnp.maximum(jnp.sqrt(begin / (begin + jnp.maximum(step, 0))), final)

    return rate
