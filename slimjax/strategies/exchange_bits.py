"""What fewer bits cost each unit.

Rounding unit u to s bits costs, to second order and with ``h`` the curvature,

    d_u(s) = 1/2 * sum_w h_w (w - Q_s(w))^2

where ``h`` is the running mean square of the gradients, as in Adam, right up to a
factor. The factor is measured: all units that share a key are rounded to s bits
together, and the change of the loss on one batch is divided by the sum of their costs.

A change below `RESOLUTION` is not measurable: the factor is then that of the next fewer
bits whose change is, or that of all keys together. Factors are rounded to powers of the
root of two, since one batch does not show them more exactly. So decisions do not depend
on the last digits of a sum: devices that add in another order get the same factors,
except for a rare one in the middle between two powers, and costs that differ by the
rounding of float32.

References:
    LeCun, Denker and Solla, "Optimal Brain Damage", 1989, section 2.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from slimjax.budget.bits import BitCosts
from slimjax.nn.quantize import (
    FULL,
    LEAST_OF_VECTORS,
    bit_axis,
    bit_key,
    fit_weight,
    is_matrix,
)
from slimjax.strategies.base import SeamContext, weight_curvature
from slimjax.trees import Path, flatten

FLOOR = 1e-9
"""Least nats between two states of a unit: fewer bits never count as a gain."""

RESOLUTION = 1e-4
"""Nats per target below which one batch does not show a change of the loss: about a
hundred times what sums in another order change."""


def bit_cost(context: SeamContext) -> BitCosts:
    """Returns the nats that each state costs each unit, against the most bits."""
    states = tuple(sorted(context.quantize.bits, reverse=True))
    errors, fits = _predict(context, states)
    sums = {key: predicted.sum(0) for key, predicted in errors.items()}
    changes = {
        key: _measure(context, key, own, states, fits[key])
        for key, own in errors.items()
    }
    seen = {key: change >= RESOLUTION for key, change in changes.items()}
    seen_of = lambda rows: [np.where(seen[key], rows[key], 0.0) for key in rows]
    total = lambda rows: np.sum(seen_of(rows), axis=0)
    common = find_factors(total(sums), total(changes), np.ones(len(states)))
    nats = {
        key: scale(own, find_factors(sums[key], changes[key], common))
        for key, own in errors.items()
    }
    return BitCosts(states, nats)


def find_factors(
    predicted: Float[np.ndarray, " S"],
    measured: Float[np.ndarray, " S"],
    common: Float[np.ndarray, " S"],
) -> Float[np.ndarray, " S"]:
    """Returns by what predicted costs are to be multiplied, for each state.

    Args:
        predicted: Of all units together, states with the most bits first.
        measured: Changes of the loss; below `RESOLUTION` they are not measurable.
        common: Factors where neither this state nor one with fewer bits is measured.

    Examples:
        >>> find_factors(np.array([0, 1.0, 8.0]), np.array([0, 0, 16.0]), np.ones(3))
        array([2., 2., 2.])
    """
    is_measured = (measured >= RESOLUTION) & (predicted > 0)
    ratios = np.divide(measured, predicted, out=common.copy(), where=is_measured)
    for i in reversed(range(len(ratios) - 1)):
        if not is_measured[i] and is_measured[i + 1]:
            ratios[i], is_measured[i] = ratios[i + 1], True
    return 2.0 ** (np.round(2 * np.log2(ratios)) / 2)


def scale(
    predicted: Float[np.ndarray, "U S"], factors: Float[np.ndarray, " S"]
) -> Float[np.ndarray, "U S"]:
    """Returns costs that never fall along S, infinite where they were.

    Examples:
        >>> scale(np.array([[0, 1.0], [0, 3.0]]), np.array([1.0, 0.5])).round(3)
        array([[0. , 0.5],
               [0. , 1.5]])
    """
    costs = predicted * factors + FLOOR * np.arange(len(factors))
    return np.maximum.accumulate(costs, axis=1)


def _measure(
    context: SeamContext,
    key: Path,
    predicted: Float[np.ndarray, "U S"],
    states: tuple[int, ...],
    fits: list[Mapping[Path, np.ndarray]],
) -> Float[np.ndarray, " S"]:
    """Returns the changes of the loss, 0 where units cannot have a state."""
    losses = [
        context.probe({}, {key: np.full(len(predicted), bits)}, fits[i])
        for i, bits in enumerate(states)
        if np.isfinite(predicted[0, i])
    ]
    changes = np.zeros(len(states))
    changes[: len(losses)] = np.array(losses) - losses[0]
    return changes


def _predict(
    context: SeamContext, states: tuple[int, ...]
) -> tuple[dict[Path, np.ndarray], dict[Path, list[Mapping[Path, np.ndarray]]]]:
    """Returns [U S] by bit key, and for each state the fits of its weights, by path.

    Units that have a state already keep the fit with which they were trained.
    """
    weights = flatten(context.params["params"])
    curvature = flatten(weight_curvature(context.opt_state))
    now = context.precision or {"bits": {}, "fit": {}}
    bits_now, fits_now = flatten(now["bits"]), flatten(now["fit"])
    errors, fits = {}, {}
    for leaf in context.inventory.leaves:
        key, axis = bit_key(leaf.path, leaf.axes), bit_axis(leaf.axes)
        pair = weights[leaf.path], curvature[leaf.path]
        num_units = 1 if axis is None else leaf.shape[axis]
        own = errors.setdefault(key, np.zeros((num_units, len(states))))
        own_fits = fits.setdefault(key, [{} for _ in states])
        for i, bits in enumerate(states):
            if not is_matrix(leaf.axes) and bits < LEAST_OF_VECTORS:
                own[:, i] = np.inf
                continue
            all_bits, group_size = np.full(num_units, bits), context.quantize.group_size
            fresh, sums = fit_weight(*pair, axis, all_bits, group_size)
            keeps = bits_now.get(key, FULL) == bits
            own_fits[i][leaf.path] = np.where(keeps, fits_now.get(leaf.path, 1), fresh)
            own[:, i] += 0.5 * sums
    return errors, fits
