"""The curvature of the loss in each weight, where the optimizer keeps none."""

from typing import NamedTuple

import jax
import optax
from jaxtyping import PyTree


class WeightMoments(NamedTuple):
    """Running means of squared gradients of weights, not bias-corrected."""

    second: PyTree


def track_curvature(decay: float) -> optax.GradientTransformation:
    """Keeps the running mean of squared gradients, and passes the gradients on.

    Chain it first, so that it gets gradients before they are clipped. It is the second
    moment that Adam keeps, and stands in for it with optimizers that have none.

    Args:
        decay: Weight of the old mean, in [0, 1).

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = track_curvature(decay=0.5)
        >>> updates, state = tx.update(jnp.array([2.0]), tx.init(jnp.ones(1)))
        >>> updates, state.second
        (Array([2.], dtype=float32), Array([2.], dtype=float32))
    """

    def init_fn(params: PyTree) -> WeightMoments:
        return WeightMoments(optax.tree.zeros_like(params))

    def update_fn(updates, state, params=None):
        del params
        mean = lambda m, g: decay * m + (1 - decay) * g * g
        return updates, WeightMoments(jax.tree.map(mean, state.second, updates))

    return optax.GradientTransformation(init_fn, update_fn)
