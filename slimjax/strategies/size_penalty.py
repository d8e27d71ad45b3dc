"""Gates move against the price of their size, and end at 0 or 1.

After the preconditioner each gate takes the step

    g <- clip(g - lr * (adam(dError/dg) + alpha * dSize/dg), 0, 1)

With a budget, alpha is the dual variable and rises while the size is above its
schedule. At a seam units are ranked by the gates themselves.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from slimjax.budget.units import Costs
from slimjax.nn.axes import is_filters
from slimjax.objective.price import (
    BudgetPriceState,
    add_budget_penalty,
    add_size_penalty,
    keep_in_interval,
)
from slimjax.strategies.base import (
    SeamContext,
    StepContext,
    Strategy,
    find_state,
    host_gates,
    open_products,
    rank_by,
)

DUAL_RATE = 0.05
"""Nats by which alpha rises in a step in which the model is twice its budget."""


def make_gate_tx(context: StepContext) -> optax.GradientTransformation:
    """Builds Adam, then the price, then the learning rate, then the interval."""
    if context.budget_schedule is None:
        price = add_size_penalty(context.size_fn, context.objective.alpha)
    else:
        rate = DUAL_RATE * context.objective.price_rate
        price = add_budget_penalty(context.size_fn, context.budget_schedule, rate)
    peak = context.objective.gate_learning_rate
    return optax.chain(
        optax.scale_by_adam(),
        price,
        optax.scale_by_learning_rate(lambda step: peak * context.learning_rate(step)),
        optax.stateless(_keep_filters),
        keep_in_interval(),
    )


def _keep_filters(updates: PyTree, _: PyTree) -> PyTree:
    """Returns updates that leave filters open: a stage without any has no norm."""

    def keep(path: tuple, update: Array) -> Array:
        return jnp.zeros_like(update) if is_filters(path[-1].key) else update

    return jax.tree_util.tree_map_with_path(keep, updates)


def cost(context: SeamContext) -> Costs:
    """Returns costs by the gates themselves: closed is free, nearly closed cheap.

    Units with equal gates have equal ranks.
    """
    return rank_by(open_products(host_gates(context.params["gates"])), context)


def read_alpha(opt_state: PyTree) -> float | None:
    """Returns the price that a budget has reached, None where the config sets it."""
    try:
        return float(find_state(opt_state, BudgetPriceState).alpha)
    except LookupError:
        return None


STRATEGY = Strategy(
    make_gate_tx=make_gate_tx, cost=cost, read_alpha=read_alpha, prices_steps=True
)
