"""Losses of heads that are no choice among classes, in nats, float32."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from slimjax.nn.cross_entropy import CLOSED
from slimjax.nn.products import product

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


def contrast_nats(
    vectors: Float[Array, "B2 D"],
    groups: Int[Array, " B"],
    weight: Float[Array, " B"],
    temperature: float,
) -> Float[Array, " B"]:
    """Returns the cross entropy of finding one's partner among the rows of a batch.

    It is the mean of both ways: the partner of a row of the first half among those of
    the second, and of a row of the second among those of the first.

    Args:
        vectors: Vectors of length 1; row i and row B + i are partners.
        groups: Rows of the same group are no wrong answers to each other.
        weight: 0 for rows that only fill up a batch; they are no answers.
        temperature: What cosines are divided by.

    References:
        van den Oord, Li and Vinyals, "Representation Learning with Contrastive
        Predictive Coding", 2018, section 2.3.
        Radford et al., "Learning Transferable Visual Models...", 2021, figure 3.

    Examples:
        >>> vectors = jnp.tile(jnp.eye(2), (2, 1))
        >>> nats = contrast_nats(vectors, jnp.arange(2), jnp.ones(2), temperature=1.0)
        >>> round(float(nats[0]), 4)  # log(1 + exp(-1))
        0.3133
    """
    size = len(groups)
    first, second = vectors[:size], vectors[size:]
    cosines = product(first, second.T, jnp.float32) / temperature
    is_same = groups[:, None] == groups[None]
    is_other = ~is_same & (weight > 0)[:, None] & (weight > 0)[None]
    cosines = jnp.where(is_other | jnp.eye(size, dtype=bool), cosines, CLOSED)
    norms = [jax.nn.logsumexp(cosines, axis=axis) for axis in (0, 1)]
    return (norms[0] + norms[1]) / 2 - jnp.diagonal(cosines)


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
