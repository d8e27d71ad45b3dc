"""What is learned from a teacher's choice among the positions of a row."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from slimjax.nn.losses import close_positions, position_nats
from slimjax.nn.readout import Readout
from slimjax.tasks.base import Targets

Sum = Float[Array, ""]


def position_sums(
    student: Readout,
    teacher: Readout,
    target: Targets,
    weight: Float[Array, ""] | float,
    *,
    temperature: float = 1.0,
) -> tuple[Sum, Sum, Sum]:
    """Returns sums over rows: the mixed error, cross entropy, divergence.

    They are those of `slimjax.distill.distilled_sums`, with a softmax over the open
    positions of a row in place of one over classes. Only the first has a gradient, and
    only with respect to the student.

    Args:
        student: One number for each position.
        teacher: The same of the teacher.
        target: The right positions, and which are open.
        weight: The teacher's share w.
        temperature: T.
    """
    is_open: Any = target.is_open
    logits, taught = student.logits()[..., 0], teacher.logits()[..., 0]
    taught = jax.lax.stop_gradient(taught)
    nats = position_nats(logits, target.values, is_open)
    away = divergence_of_rows(logits, taught, is_open, temperature)
    mixed = (1 - weight) * nats + weight * temperature**2 * away
    total, *rest = (jnp.sum(target.weight * x) for x in (mixed, nats, away))
    nats, away = jax.lax.stop_gradient(rest)
    return total, nats, away


def divergence_of_rows(
    logits: Float[Array, "B T"],
    taught: Float[Array, "B T"],
    is_open: Bool[Array, "B T"],
    temperature: float,
) -> Float[Array, " B"]:
    """Returns ``KL(t || q)`` of two softmaxes over the open positions of each row."""
    log_q, log_t = (
        jax.nn.log_softmax(close_positions(x, is_open) / temperature, axis=1)
        for x in (logits, taught)
    )
    each = jnp.exp(log_t) * (log_t - log_q)
    return jnp.sum(jnp.where(is_open, each, 0.0), axis=1)
