"""Weights shrink against the price of their size, whole units to exact zeros.

It is to size what AdamW's decoupled decay is to the L2 norm: after the step the n
weights of unit u shrink together,

    w_u <- w_u * max(0, 1 - lr * alpha * s_u / rms(w_u)),    rms(w) = |w|_2 / sqrt(n)

with s_u the size of u per weight, divided by the mean over all units. This is the
proximal step of ``alpha * sum_u s_u sqrt(n_u) |w_u|_2``: the group lasso, weighted by
size. No gates move. The root mean square, and not the norm, is what is shrunk evenly,
since a step of Adam moves a large unit's norm by less, for its size, than a small
one's: with the norm itself the largest kind of unit would be removed first.

alpha is not in nats: at 1 the shrinkage equals the largest step of Adam.

References:
    Yuan and Lin, "Model Selection and Estimation in Regression with Grouped
    Variables", 2006, equation 2.1.
    Parikh and Boyd, "Proximal Algorithms", 2014, section 6.5.1.
    Jenatton et al., "Proximal Methods for Hierarchical Sparse Coding", 2011, section
    3.2: the step of nested groups is that of the inner ones, then of the outer ones.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from slimjax.budget.limits import Limits
from slimjax.budget.units import Costs
from slimjax.nn.gates import NESTED, is_shared
from slimjax.objective.inventory import Inventory
from slimjax.objective.size import SizeFn, unit_sizes
from slimjax.strategies.base import (
    SeamContext,
    StepContext,
    Strategy,
    find_state,
    rank_by,
    stays_open,
)
from slimjax.strategies.groups import host_sums, scale_units, unit_sums
from slimjax.trees import Path, flatten, unflatten

DUAL_RATE = 0.02
"""Rise of alpha in a step in which the model is twice its budget."""

LARGEST_PRICE = 0.3
"""Highest alpha that a budget reaches: weights with large gradients are kept."""

TINY = 1e-30

NO_LIMITS = Limits()

STATIC = ("inventory", "sizes", "limits")
"""Arguments of `size_decay` that are no numbers."""


def size_decay(
    inventory: Inventory,
    sizes: Mapping[Path, float],
    learning_rate: float | Float[Array, ""],
    alpha: float | Float[Array, ""],
    limits: Limits = NO_LIMITS,
) -> optax.GradientTransformation:
    """Shrinks units by their size. It is the last link of the chain of the weights.

    Wrapped in ``optax.inject_hyperparams(..., static_args=STATIC)``, learning rate and
    alpha may follow schedules or be set between two steps.

    Args:
        inventory: The model, whose weights are ``params["params"]``.
        sizes: Size of a unit of each gate, per weight of the unit.
        learning_rate: That of the weights.
        alpha: Price.
        limits: Which units may shrink.

    Returns:
        A stateless transformation, whose ``update`` needs ``params``.

    Examples:
        >>> from slimjax.objective.inventory import Leaf
        >>> leaf = Leaf(("mlp", "down"), (2, 2), ("mlp", "embed"))
        >>> inventory = Inventory((leaf,), {("mlp", "mlp"): (2,)})
        >>> tx = size_decay(inventory, {("mlp", "mlp"): 1.0}, 0.1, alpha=5.0)
        >>> weight = jnp.array([[1.0, 1.0], [0.4, -0.4]])
        >>> params = {"params": {"mlp": {"down": weight}}}
        >>> zeros = optax.tree.zeros_like(params)
        >>> updates, _ = tx.update(zeros, tx.init(params), params)
        >>> optax.apply_updates(params, updates)["params"]["mlp"]["down"]
        Array([[0.5, 0.5],
               [0. , 0. ]], dtype=float32)
    """

    def shrink(updates: PyTree, params: PyTree | None = None) -> PyTree:
        if params is None:
            raise ValueError("size_decay needs params: tx.update(g, state, params)")
        before = flatten(params["params"])
        moved = flatten(updates["params"])
        weights = {path: w + moved[path] for path, w in before.items()}
        for inner in (True, False):
            factors = {
                path: jnp.maximum(0.0, 1 - learning_rate * alpha * sizes[path] / rms)
                for path, rms in unit_rms(inventory, weights).items()
                if (path[-1] in NESTED) is inner
                and _may_shrink(path, inventory, limits)
            }
            weights = scale_units(inventory, weights, factors)
        shrunk = {path: weights[path] - w for path, w in before.items()}
        return {**updates, "params": unflatten(shrunk)}

    return optax.stateless(shrink)


class SizeDecayState(NamedTuple):
    """The dual variable of a budget, and the number of steps taken."""

    num_steps: Array  # int32 []
    alpha: Array  # float32 []


def size_decay_to_budget(
    inventory: Inventory,
    sizes: Mapping[Path, float],
    learning_rate: optax.Schedule,
    size_fn: SizeFn,
    budget: optax.Schedule,
    rate: float,
    limits: Limits,
) -> optax.GradientTransformation:
    """Shrinks units by their size, at a price that rises above a budget.

    Dual ascent, ``alpha <- clip(alpha + rate * (size - budget), 0, LARGEST_PRICE)``,
    where size counts the units that are not zero. Within the budget nothing shrinks, so
    that the size is not missed by more than what is removed in one step.
    """

    def init_fn(params: PyTree) -> SizeDecayState:
        del params
        return SizeDecayState(jnp.zeros([], jnp.int32), jnp.zeros([]))

    def update_fn(updates, state, params=None):
        if params is None:
            raise ValueError("size_decay_to_budget needs params")
        size = size_fn(alive_gates(inventory, params, limits))
        excess = size - budget(state.num_steps)
        alpha = jnp.clip(state.alpha + rate * excess, 0.0, LARGEST_PRICE)
        acting = jnp.where(excess > 0, alpha, 0.0)
        rate_now = jnp.asarray(learning_rate(state.num_steps))
        tx = size_decay(inventory, sizes, rate_now, acting, limits)
        updates, _ = tx.update(updates, optax.EmptyState(), params)
        num_steps = jnp.asarray(optax.safe_increment(state.num_steps))
        return updates, SizeDecayState(num_steps, alpha)

    return optax.GradientTransformation(init_fn, update_fn)


def unit_rms(inventory: Inventory, weights: Mapping[Path, Any]) -> dict[Path, Any]:
    """Returns the root mean square of the weights of each unit, never quite 0."""
    sums = unit_sums(inventory, {path: w * w for path, w in weights.items()})
    counts = units_weights(inventory)
    return {path: (sums[path] / counts[path] + TINY) ** 0.5 for path in sums}


def units_weights(inventory: Inventory) -> dict[Path, int]:
    """Returns the number of weights that one unit of each gate has."""
    ones = {leaf.path: np.ones(leaf.shape, np.int8) for leaf in inventory.leaves}
    return {p: int(sums[0]) for p, sums in unit_sums(inventory, ones).items()}


def alive_gates(inventory: Inventory, params: PyTree, limits: Limits) -> PyTree:
    """Returns gates of 0 for units that shrank to weights of 0, and 1 for others."""
    alive: dict[Path, Any] = {p: jnp.ones(s) for p, s in inventory.gates.items()}
    entries = {p: jnp.abs(w) for p, w in flatten(params["params"]).items()}
    for path, units in unit_sums(inventory, entries).items():
        if _may_shrink(path, inventory, limits):
            alive[path] = (units > 0).astype(jnp.float32)
    return {"gates": unflatten(alive)}


def _may_shrink(path: Path, inventory: Inventory, limits: Limits) -> bool:
    """Whether the units of a gate may go, with all units that live in them."""
    inside = [(*path[:-1], axis) for axis in NESTED if NESTED[axis] == path[-1]]
    is_frozen = any(limits.is_frozen(p) for p in inside if p in inventory.gates)
    may_move = limits.may_move(path) and not is_frozen
    return may_move and not stays_open(path, inventory.gates)


def relative_sizes(inventory: Inventory, size_fn: SizeFn) -> dict[Path, float]:
    """Returns the sizes of units per weight, divided by the mean over all units."""
    sizes = unit_sizes(size_fn, inventory.open_gates())
    counts = units_weights(inventory)
    outer = [
        path for path in counts if path[-1] not in NESTED and not is_shared(path[-1])
    ]
    total = lambda values: sum(values[p] * inventory.gates[p][0] for p in outer)
    mean = total(sizes) / max(total(counts), 1)
    return {path: sizes[path] / counts[path] / max(mean, TINY) for path in counts}


def make_weight_tx(context: StepContext) -> optax.GradientTransformation:
    """Builds the decay at a price, or towards a budget."""
    inventory = context.inventory
    size_fn = lambda gates: context.size_fn({"gates": gates})
    sizes = relative_sizes(inventory, size_fn)
    peak = context.peak_learning_rate
    learning_rate = lambda step: peak * context.learning_rate(step)
    if context.budget_schedule is None:
        injected: Any = optax.inject_hyperparams(size_decay, static_args=STATIC)
        alpha = context.objective.alpha
        return injected(inventory, sizes, learning_rate, alpha, context.limits)
    return size_decay_to_budget(
        inventory,
        sizes,
        learning_rate,
        context.size_fn,
        context.budget_schedule,
        DUAL_RATE * context.objective.price_rate,
        context.limits,
    )


def cost(context: SeamContext) -> Costs:
    """Returns costs that rank units in the order in which they would become 0."""
    sizes = relative_sizes(context.inventory, context.size_fn)
    counts = units_weights(context.inventory)
    square = lambda weight: weight * weight
    sums = host_sums(context.inventory, square, context.params["params"])
    scores = {
        path: (total / counts[path]) ** 0.5 / max(sizes[path], TINY)
        for path, total in sums.items()
    }
    return rank_by(scores, context)


def read_alpha(opt_state: PyTree) -> float | None:
    """Returns the price that a budget has reached, None where the config sets it."""
    try:
        return float(find_state(opt_state, SizeDecayState).alpha)
    except LookupError:
        return None


STRATEGY = Strategy(
    prices_steps=True,
    make_gate_tx=lambda _: optax.set_to_zero(),
    cost=cost,
    make_weight_tx=make_weight_tx,
    read_alpha=read_alpha,
)
