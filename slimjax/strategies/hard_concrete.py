"""Stochastic gates learn how often they are open, within a budget.

In each step a gate is drawn from the hard concrete distribution, which has mass at 0
and at 1 and a slope in between,

    z = clip(sigmoid((logit(u) + log_alpha) / BETA) * (ZETA - GAMMA) + GAMMA, 0, 1)

with u uniform on (0, 1). The model is evaluated, and cut, with the deterministic gate

    z^ = clip(sigmoid(log_alpha) * (ZETA - GAMMA) + GAMMA, 0, 1)

The expected size is that of the gates ``P(z > 0)``, and the loss has either its price
or an augmented Lagrangian with multipliers of ascent,

    Error + alpha * E[Size]  or  Error + l1 (E[Size] - budget) + l2 (E[Size] - budget)^2

What a state holds as a gate g is log_alpha on the scale on which the deterministic
gate just closes at 0 and is just whole at 1: ``log_alpha = log(11) * (2 g - 1)``. So an
open gate is 1 here as everywhere.

References:
    Louizos et al., "Learning Sparse Neural Networks through L0 Regularization", 2018,
    equations 10 to 13.
    Xia et al., "Structured Pruning Learns Compact and Accurate Models" (CoFi), 2022,
    section 3.1 and appendix A, for the Lagrangian.
    Xia et al., "Sheared LLaMA", 2024, section 2.1.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from slimjax.budget.units import Costs
from slimjax.nn.axes import to_host
from slimjax.objective.price import add_size_penalty, keep_in_interval
from slimjax.objective.size import SizeFn
from slimjax.strategies.base import (
    SeamContext,
    StepContext,
    Strategy,
    find_state,
    host_gates,
    open_products,
    rank_by,
    stays_open,
)
from slimjax.trees import flatten, unflatten

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
"""Temperature and the ends of the stretched interval, as in all three papers."""

WHOLE = math.log((1 - GAMMA) / (ZETA - 1))
"""log_alpha at which the deterministic gate is just 1; at its negative it is just 0."""

LARGEST = (math.log(1e2) / WHOLE + 1) / 2
"""Largest gate, log_alpha = log(100) as in CoFi; the least is 1 minus that."""

DUAL_RATE = 0.02
"""Rise of l1 in a step in which the expected size is twice the budget."""

SQUARE_RATE = 50 * DUAL_RATE
"""The same of l2. It acts against an excess at once, where l1 alone swings past the
budget: expected size hardly moves until log_alpha has fallen far."""


def sample_gates(gates: PyTree, key: Array) -> PyTree:
    """Returns the multipliers of one step."""
    flat = flatten(gates)
    if not flat:
        return gates
    ends = np.cumsum([flat[path].size for path in sorted(flat)])
    u = jax.random.uniform(key, (ends[-1],), minval=1e-6, maxval=1 - 1e-6)
    noises = jnp.split(jnp.log(u) - jnp.log1p(-u), ends[:-1])
    noise = dict(zip(sorted(flat), noises, strict=True))

    def sample(path, gate):
        at = noise[path].reshape(gate.shape) + log_alpha(gate)
        s = jax.nn.sigmoid(at / BETA)
        return jnp.clip(s * (ZETA - GAMMA) + GAMMA, 0.0, 1.0)

    return _map_free(sample, gates)


def deterministic_gates(gates: PyTree) -> PyTree:
    """Returns the deterministic multipliers, exactly 0 and 1 beyond the ends."""

    def mean_gate(_, gate):
        inside = jax.nn.sigmoid(log_alpha(gate)) * (ZETA - GAMMA) + GAMMA
        whole = jnp.where(gate >= 1, 1.0, jnp.clip(inside, 0.0, 1.0))
        return jnp.where(gate <= 0, 0.0, whole)

    return _map_free(mean_gate, gates)


def open_probability(gates: PyTree) -> PyTree:
    """Returns the probability of each gate to be above 0."""
    shift = BETA * math.log(-GAMMA / ZETA)
    return _map_free(lambda _, g: jax.nn.sigmoid(log_alpha(g) - shift), gates)


def log_alpha(gate: Any) -> Any:
    """Returns the location of a gate's distribution."""
    return WHOLE * (2 * gate - 1)


def _map_free(fn, gates: PyTree) -> PyTree:
    """Maps gates by (path, gate); those that are left alone are always open."""
    flat = flatten(gates)
    shapes = {path: gate.shape for path, gate in flat.items()}
    return unflatten(
        {
            path: jnp.ones_like(gate) if stays_open(path, shapes) else fn(path, gate)
            for path, gate in flat.items()
        }
    )


class LagrangianState(NamedTuple):
    """Multipliers of a budget, and the price that they make."""

    num_steps: Array  # int32 []
    linear: Array  # float32 []
    quadratic: Array  # float32 []
    alpha: Array  # float32 [], nats for the whole starting model


def add_lagrangian(
    size_fn: SizeFn, budget: optax.Schedule, rate: float, square_rate: float
) -> optax.GradientTransformation:
    """Adds the slope of an augmented Lagrangian, whose multipliers ascend.

    With ``e = size - budget`` l1 rises by ``rate * e`` and l2 by ``square_rate * e^2``;
    the slope is that of ``l1 e + l2 e^2``: a price of ``l1 + 2 l2 e``, which opens
    gates where it is negative.

    Args:
        size_fn: Differentiable size, as a fraction of the size at step 0.
        budget: Largest size at each step, in the same fraction.
        rate: Rise of l1, nats per step and unit of excess.
        square_rate: Rise of l2, nats per step and unit of squared excess.

    Examples:
        >>> budget = optax.constant_schedule(0.5)
        >>> price = add_lagrangian(jnp.mean, budget, rate=1.0, square_rate=1.0)
        >>> tx = optax.chain(price, optax.sgd(1.0))
        >>> gates = jnp.ones(2)
        >>> updates, _ = tx.update(jnp.zeros(2), tx.init(gates), gates)
        >>> updates  # e is 1/2, the price 1/2 + 2/4 * 1/2, the slope half of it.
        Array([-0.375, -0.375], dtype=float32)
    """

    def init_fn(params: PyTree) -> LagrangianState:
        del params
        zeros = (jnp.zeros([]) for _ in range(3))  # None of them donated twice.
        return LagrangianState(jnp.zeros([], jnp.int32), *zeros)

    def update_fn(updates, state, params=None):
        if params is None:
            raise ValueError("add_lagrangian needs params: tx.update(g, state, params)")
        size, slope = jax.value_and_grad(size_fn)(params)
        excess = size - budget(state.num_steps)
        linear = state.linear + rate * excess
        quadratic = state.quadratic + square_rate * excess**2
        alpha = linear + 2 * quadratic * excess
        updates = jax.tree.map(lambda u, s: u + alpha * s, updates, slope)
        num_steps = jnp.asarray(optax.safe_increment(state.num_steps))
        return updates, LagrangianState(num_steps, linear, quadratic, alpha)

    return optax.GradientTransformation(init_fn, update_fn)


def make_gate_tx(context: StepContext) -> optax.GradientTransformation:
    """Builds the price, then Adam, then the learning rate, then the interval.

    As in the papers the price is part of the loss, and so comes before Adam: against
    the noise of sampled gates it is not normalised away.
    """
    expected_size = lambda params: context.size_fn(
        {**params, "gates": open_probability(params["gates"])}
    )
    if context.budget_schedule is None:
        price = add_size_penalty(expected_size, context.objective.alpha)
    else:
        pace = context.objective.price_rate
        rates = DUAL_RATE * pace, SQUARE_RATE * pace
        price = add_lagrangian(expected_size, context.budget_schedule, *rates)
    peak = context.objective.gate_learning_rate
    return optax.chain(
        price,
        optax.scale_by_adam(),
        optax.scale_by_learning_rate(lambda step: peak * context.learning_rate(step)),
        keep_in_interval(1 - LARGEST, LARGEST),
    )


def cost(context: SeamContext) -> Costs:
    """Returns costs that rank units by how often they are open.

    At a price, units whose deterministic gate is 0 are removed.
    """
    of = open_probability if context.objective.has_budget else deterministic_gates
    gates = of(to_host(context.params["gates"]))
    return rank_by(open_products(host_gates(gates)), context)


def read_alpha(opt_state: PyTree) -> float | None:
    """Returns the price that a budget has reached, None where the config sets it."""
    try:
        return max(0.0, float(find_state(opt_state, LagrangianState).alpha))
    except LookupError:
        return None


STRATEGY = Strategy(
    prices_steps=True,
    make_gate_tx=make_gate_tx,
    cost=cost,
    read_alpha=read_alpha,
    sample_gates=sample_gates,
    deterministic_gates=deterministic_gates,
)
