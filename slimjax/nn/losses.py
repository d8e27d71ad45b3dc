"""Losses of heads that are no choice among classes, in nats, float32."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from slimjax.nn.cross_entropy import CLOSED

LEAST_MISS = 1e-6
"""Least ``1 - p`` of a focal loss: below it the slope of a root would be infinite."""


def binary_nats(
    logits: Float[Array, "*batch C"], targets: Float[Array, "*batch C"]
) -> Float[Array, "*batch"]:
    """Returns the binary cross entropy, summed over C yes-or-no answers.

    Args:
        logits: z.
        targets: t, each in [0, 1].

    Examples:
        >>> round(float(binary_nats(jnp.zeros(2), jnp.array([0.1, 0.9]))), 4)
        1.3863
    """
    return jnp.sum(binary_terms(logits, targets), axis=-1)


def binary_terms(
    logits: Float[Array, "*batch C"], targets: Float[Array, "*batch C"]
) -> Float[Array, "*batch C"]:
    """Returns the binary cross entropy of each yes-or-no answer.

    ``-(t log p + (1 - t) log(1 - p))`` with ``p = sigmoid(z)``, written as
    ``log(1 + exp(z)) - t z``, which no large logit makes infinite.
    """
    logits = logits.astype(jnp.float32)
    return jax.nn.softplus(logits) - targets * logits


def focal_factor(nats: Float[Array, "*batch"], gamma: float) -> Float[Array, "*batch"]:
    """Returns ``(1 - p)^gamma`` of targets whose cross entropy is ``-log p``.

    References:
        Lin et al., "Focal Loss for Dense Object Detection", 2017, section 3.

    Examples:
        >>> round(float(focal_factor(jnp.array(math.log(2.0)), 2.0)), 4)
        0.25
    """
    return jnp.maximum(-jnp.expm1(-nats), LEAST_MISS) ** gamma


def position_nats(
    logits: Float[Array, "B T"],
    targets: Int[Array, " B"],
    is_open: Bool[Array, "B T"],
) -> Float[Array, " B"]:
    """Returns ``-log p(target)`` of a softmax over the open positions of each row.

    Args:
        logits: One number for each position.
        targets: The right positions, which are open.
        is_open: Which positions may be chosen, one or more of each row.

    Examples:
        >>> is_open = jnp.array([[True, True, False]])
        >>> nats = position_nats(jnp.zeros((1, 3)), jnp.array([1]), is_open)
        >>> round(float(nats[0]), 4)
        0.6931
    """
    logits = close_positions(logits, is_open)
    chosen = jnp.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(logits, axis=1) - chosen


def close_positions(
    logits: Float[Array, "B T"], is_open: Bool[Array, "B T"]
) -> Float[Array, "B T"]:
    """Returns logits in float32, `CLOSED` where a position may not be chosen."""
    return jnp.where(is_open, logits.astype(jnp.float32), CLOSED)


def gaussian_nats(
    mean: Float[Array, "*batch"], targets: Float[Array, "*batch"], variance: float
) -> Float[Array, "*batch"]:
    """Returns ``-log p(target)`` of a normal distribution with a fixed variance.

    ``(t - m)^2 / (2 v) + log(2 pi v) / 2``: the squared error in the unit that all
    other errors have, so that a price means the same for it.

    Examples:
        >>> round(float(gaussian_nats(jnp.array(1.0), jnp.array(1.0), 1.0)), 4)
        0.9189
    """
    away = jnp.square(targets - mean.astype(jnp.float32)) / (2 * variance)
    return away + 0.5 * math.log(2 * math.pi * variance)
