"""The price of size, as Optax transformations."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree


def add_size_penalty(
    size_fn: Callable[[PyTree], Float[Array, ""]], alpha: float | Float[Array, ""]
) -> optax.GradientTransformation:
    """Adds the gradient of ``alpha * size_fn(params)`` to the updates.

    Chain it after the preconditioner and before the learning rate, in the gates' own
    group: scaled like a gradient, alpha would be normalised away. Wrapped in
    ``optax.inject_hyperparams(..., static_args=("size_fn",))``, alpha may follow a
    schedule or be set between two steps.

    Args:
        size_fn: Differentiable size, as a fraction of the size at step 0.
        alpha: Price of the whole model, in nats per token.

    Returns:
        A stateless transformation, whose ``update`` needs ``params``.

    Examples:
        >>> import jax.numpy as jnp
        >>> tx = optax.chain(add_size_penalty(jnp.mean, alpha=0.5), optax.sgd(1.0))
        >>> gates = jnp.ones(2)
        >>> updates, _ = tx.update(jnp.zeros(2), tx.init(gates), gates)
        >>> optax.apply_updates(gates, updates)
        Array([0.75, 0.75], dtype=float32)
    """

    def add_slope(updates, params=None):
        if params is None:
            raise ValueError(
                "add_size_penalty needs params: tx.update(g, state, params)"
            )
        slope = jax.grad(size_fn)(params)
        return jax.tree.map(lambda u, s: u + alpha * s, updates, slope)

    return optax.stateless(add_slope)


class BudgetPriceState(NamedTuple):
    """The dual variable of a budget: alpha, nats for the whole starting model."""

    alpha: Array


def add_budget_penalty(
    size_fn: Callable[[PyTree], Float[Array, ""]],
    budget: optax.Schedule,
    rate: float,
) -> optax.GradientTransformation:
    """Adds a size penalty whose price rises while the size exceeds a budget.

    Dual ascent, ``alpha <- max(0, alpha + rate * (size - budget))``, then the slope of
    ``alpha * size`` as in `add_size_penalty`, with the same place in a chain.

    Args:
        size_fn: Differentiable size, as a fraction of the size at step 0.
        budget: Largest size at each step, in the same fraction.
        rate: Nats per step and unit of excess.

    Examples:
        >>> budget = optax.constant_schedule(0.5)
        >>> tx = optax.chain(add_budget_penalty(jnp.mean, budget, 1.0), optax.sgd(1.0))
        >>> gates = jnp.ones(2)
        >>> updates, _ = tx.update(jnp.zeros(2), tx.init(gates), gates)
        >>> optax.apply_updates(gates, updates)  # alpha is 0.5, the slope 0.5 a gate.
        Array([0.75, 0.75], dtype=float32)
    """

    def init_fn(params):
        del params
        return optax.ScaleByScheduleState(jnp.zeros([], jnp.int32)), BudgetPriceState(
            alpha=jnp.zeros([])
        )

    def update_fn(updates, state, params=None):
        if params is None:
            raise ValueError(
                "add_budget_penalty needs params: tx.update(g, state, params)"
            )
        (clock, price) = state
        size, slope = jax.value_and_grad(size_fn)(params)
        excess = size - budget(clock.count)
        alpha = jnp.maximum(0.0, price.alpha + rate * excess)
        updates = jax.tree.map(lambda u, s: u + alpha * s, updates, slope)
        clock = optax.ScaleByScheduleState(optax.safe_increment(clock.count))
        return updates, (clock, BudgetPriceState(alpha))

    return optax.GradientTransformation(init_fn, update_fn)


def keep_in_interval(
    low: float = 0.0, high: float = 1.0
) -> optax.GradientTransformation:
    """Shortens updates so that no parameter leaves an interval. Goes last in a chain.

    Examples:
        >>> tx = keep_in_interval()
        >>> updates, _ = tx.update(jnp.array([-2.0]), tx.init(None), jnp.array([0.5]))
        >>> updates
        Array([-0.5], dtype=float32)
    """

    def shorten(updates, params=None):
        if params is None:
            raise ValueError(
                "keep_in_interval needs params: tx.update(g, state, params)"
            )
        return jax.tree.map(
            lambda u, p: jnp.clip(p + u, low, high) - p, updates, params
        )

    return optax.stateless(shorten)


class GateMoments(NamedTuple):
    """What gradients of the gates have been.

    Attributes:
        num_seen: Number of gradients seen, int32 [].
        second: Running mean of their squares, not bias-corrected; like the gates.
    """

    num_seen: Array
    second: PyTree


def track_gate_moments(decay: float = 0.98) -> optax.GradientTransformation:
    """Keeps the running mean square of gradients, and moves nothing.

    The second moment of a gate's gradient is the curvature from which `exchange`
    predicts the loss that closing the gate costs.

    Examples:
        >>> tx = track_gate_moments(decay=0.5)
        >>> updates, state = tx.update(jnp.array([2.0]), tx.init(jnp.ones(1)))
        >>> updates, corrected_second_moment(state, decay=0.5)
        (Array([0.], dtype=float32), Array([4.], dtype=float32))
    """

    def init_fn(params):
        return GateMoments(
            jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, params)
        )

    def update_fn(updates, state, params=None):
        del params
        mean = lambda m, g: decay * m + (1 - decay) * g * g
        second = jax.tree.map(mean, state.second, updates)
        num_seen = jnp.asarray(optax.safe_increment(state.num_seen))
        state = GateMoments(num_seen, second)
        return jax.tree.map(jnp.zeros_like, updates), state

    return optax.GradientTransformation(init_fn, update_fn)


def corrected_second_moment(state: GateMoments, decay: float = 0.98) -> PyTree:
    """Returns the mean square of the gates' gradients, unbiased by its zero start."""
    correction = 1 - decay ** jnp.maximum(state.num_seen, 1)
    return jax.tree.map(lambda m: m / correction, state.second)
