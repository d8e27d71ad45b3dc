"""Each unit learns its bits: its depth is a parameter, priced by bytes.

Weights are rounded to real depths b, with the slope that `slimjax.nn.depths` defines.
The step descends

    Error + alpha * Size(b),    Size(b) = sum_u bytes_u(b_u) / Size(start)

with Adam, the price being part of the loss. At 0 bits nothing is left of a unit. With a
budget alpha is the dual variable of a size that falls towards it.

At a seam depths are rounded to states. At the end of training all units lose as much
by a byte less, and the error of rounding falls by a factor of 4 per bit; so state s
costs unit u, up to one common factor,

    d_u(s) = bytes of a bit_u / log(4) * 4^(min(b_u, 8) - s)

and at the price ``argmin_s d_u(s) + alpha * bytes_u(s)`` is the state next to b_u; the
loss does not distinguish depths above 8. A budget shifts all of them alike. Zero bits
is a state like the others: its units are removed.

References:
    Csefalvay and Imber, "Self-Compressing Neural Networks", 2023, section 2 (there the
    size is the mean of bits; here bytes, with those of the steps between levels).
    Cover and Thomas, "Elements of Information Theory", 2006, theorem 10.3.2 (4 a bit).
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree, Shaped

from slimjax.budget.bits import BitCosts, by_gate
from slimjax.budget.depths import least_depths, unit_bytes
from slimjax.budget.units import Costs
from slimjax.nn.axes import to_host
from slimjax.nn.depths import DEPTHS
from slimjax.nn.gates import is_shared
from slimjax.nn.quantize import FULL, bit_key, is_matrix, least_bits
from slimjax.objective.price import add_budget_penalty, add_size_penalty
from slimjax.objective.size import SizeFn
from slimjax.strategies.base import SeamContext, StepContext, Strategy
from slimjax.strategies.size_penalty import read_alpha
from slimjax.trees import Path, flatten, unflatten

DUAL_RATE = 0.05
"""Nats by which alpha rises in a step in which the model is twice its budget."""

MOST_DISTINCT = 8
"""Bits above which the loss does not show an effect of rounding."""


def learned_bits(
    size_fn: SizeFn,
    learning_rate: float | Float[Array, ""],
    alpha: float | Float[Array, ""],
    least: Mapping[Path, float] | None = None,
    most: float | Shaped[Array, ""] = FULL,
) -> optax.GradientTransformation:
    """Moves depths against the price of their bytes. The whole chain of their group.

    Wrapped in ``optax.inject_hyperparams(..., static_args=("size_fn", "least"))``, rate
    and alpha may follow schedules or be set between two steps.

    Args:
        size_fn: From ``{"depths": depths}`` to size as a part of the start's.
        learning_rate: Bits by which a depth moves in a step, at most.
        alpha: Price of the whole model, nats a target.
        least: Least depths by bit key; 0 for what is not named.
        most: Largest depth.

    Returns:
        A transformation whose ``update`` needs ``params``.

    Examples:
        >>> mean = lambda params: params["depths"]["mlp"].mean() / 16
        >>> tx = optax.inject_hyperparams(learned_bits, static_args=("size_fn",))(
        ...     mean, learning_rate=0.5, alpha=1.0
        ... )
        >>> params = {"depths": {"mlp": jnp.array([8.0, 0.25])}}
        >>> zeros = optax.tree.zeros_like(params)
        >>> updates, _ = tx.update(zeros, tx.init(params), params)
        >>> optax.apply_updates(params, updates)["depths"]["mlp"].astype("bfloat16")
        Array([7.5, 0], dtype=bfloat16)
    """
    price = add_size_penalty(size_fn, alpha)
    return _descend(price, learning_rate, least or {}, most)


def _descend(
    price: optax.GradientTransformation,
    learning_rate: Any,
    least: Mapping[Path, float],
    most: float | Shaped[Array, ""],
) -> optax.GradientTransformation:
    def keep(updates: PyTree, params: PyTree | None = None) -> PyTree:
        assert params is not None
        moved, kept = flatten(updates[DEPTHS]), {}
        for key, depth in flatten(params[DEPTHS]).items():
            end = jnp.clip(depth + moved[key], least.get(key, 0.0), most)
            kept[key] = end - depth
        return {**updates, DEPTHS: unflatten(kept)}

    return optax.chain(
        price,
        optax.scale_by_adam(),
        optax.scale_by_learning_rate(learning_rate),
        optax.stateless(keep),
    )


def make_depth_tx(context: StepContext) -> optax.GradientTransformation:
    """Builds the descent at a price, or towards a budget."""
    objective, bits = context.objective, context.quantize.bits
    peak = objective.gate_learning_rate * FULL
    learning_rate = lambda step: peak * context.learning_rate(step)
    least = least_depths(context.inventory, context.limits, min(bits))
    size_fn = context.depth_size_fn
    assert size_fn is not None
    if context.budget_schedule is None:
        price = add_size_penalty(size_fn, objective.alpha)
    else:
        rate = DUAL_RATE * objective.price_rate
        price = add_budget_penalty(size_fn, context.budget_schedule, rate)
    return _descend(price, learning_rate, least, max(bits))


def cost(context: SeamContext) -> Costs:
    """Returns what zero bits cost the units of each gate; channels are kept.

    Vectors, such as the scales of norms, are removed with what they belong to.
    """
    opened, costs = context.inventory.open_gates(), _costs(context, (0,))
    finite = {key: own[:, 0] for key, own in costs.items() if np.isfinite(own).all()}
    channels = {
        path: gate * np.inf for path, gate in opened.items() if is_shared(path[-1])
    }
    return by_gate(finite, opened) | channels


def bit_cost(context: SeamContext) -> BitCosts:
    """Returns what each state costs each unit, by how far it is from its depth."""
    states = tuple(sorted(context.quantize.bits, reverse=True))
    return BitCosts(states, _costs(context, states))


def _costs(context: SeamContext, states: tuple[int, ...]) -> dict[Path, np.ndarray]:
    """Returns d_u(s), [U S] by bit key, infinite where a unit cannot have s bits."""
    factor = (context.objective.alpha or 1.0) / context.start_bytes / np.log(4)
    weighed = unit_bytes(context.inventory, context.quantize.group_size)
    costs = {}
    for key, depths in flatten(to_host(context.params[DEPTHS])).items():
        byte_of_bit = weighed[key][-1] / FULL
        distinct = np.minimum(np.asarray(depths, np.float64), MOST_DISTINCT)
        away = distinct[:, None] - np.array(states)
        costs[key] = factor * byte_of_bit * 4.0**away
    for leaf in context.inventory.leaves:
        too_few = np.array(states) < least_bits(leaf.axes)
        costs[bit_key(leaf.path, leaf.axes)][
            :, too_few & (not is_matrix(leaf.axes))
        ] = np.inf
    return costs


STRATEGY = Strategy(
    prices_steps=True,
    make_gate_tx=lambda _: optax.set_to_zero(),
    cost=cost,
    bit_cost=bit_cost,
    make_depth_tx=make_depth_tx,
    read_alpha=read_alpha,
)
