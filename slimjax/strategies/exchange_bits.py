"""What each unit pays for having fewer bits.

Rounding unit u to s bits costs, to second order and with ``h`` the curvature,

    d_u(s) = 1/2 * sum_w h_w (w - Q_s(w))^2

where ``h`` is Adam's second moment of the gradients, right but for a factor. The factor
is measured: all units that share a key are rounded to s bits together, and their costs
are scaled to sum up to the true change of the loss, on one batch.

References:
    LeCun, Denker and Solla, "Optimal Brain Damage", 1989, section 2.
"""

from collections.abc import Mapping

import numpy as np

from slimjax.nn.quantize import (
    FULL,
    LEAST_OF_VECTORS,
    bit_axis,
    bit_key,
    fit_weight,
)
from slimjax.objective.precision import BitCosts
from slimjax.strategies.base import SeamContext, weight_curvature
from slimjax.trees import Path, flatten

FLOOR = 1e-9
"""Least nats between two states of a unit: fewer bits are never worth something."""


def judge_bits(context: SeamContext) -> BitCosts:
    """Returns the nats that each state costs each unit, against the most bits."""
    states = tuple(sorted(context.quantize.bits, reverse=True))
    errors, fits = _predict(context, states)
    nats = {}
    for key, predicted in errors.items():
        own_fits, num_units = fits[key], len(predicted)
        losses = [
            context.probe({}, {key: np.full(num_units, bits)}, own_fits[i])
            for i, bits in enumerate(states)
            if np.isfinite(predicted[0, i])
        ]
        measured = np.full(len(states), np.inf)
        measured[: len(losses)] = np.array(losses) - losses[0]
        nats[key] = calibrate(predicted, measured)
    return BitCosts(states, nats)


def calibrate(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Returns predicted costs [U S], scaled to sum up to the measured ones [S].

    Examples:
        >>> calibrate(np.array([[0, 1.0], [0, 3.0]]), np.array([0, 2.0])).round(3)
        array([[0. , 0.5],
               [0. , 1.5]])
    """
    num_units, num_states = predicted.shape
    sums = predicted.sum(0)
    known = np.where(np.isfinite(measured), np.maximum(measured, 0.0), 0.0)
    even = np.full(predicted.shape, 1 / num_units)
    told = np.isfinite(sums) & (sums > 0)
    share = np.divide(predicted, sums, out=even, where=told)
    costs = share * known + FLOOR * np.arange(num_states)
    costs[:, ~np.isfinite(measured)] = np.inf
    return np.maximum.accumulate(costs, axis=1)


def _predict(
    context: SeamContext, states: tuple[int, ...]
) -> tuple[dict[Path, np.ndarray], dict[Path, list[Mapping[Path, np.ndarray]]]]:
    """Returns [U S] by bit key, and for each state the fits of its weights, by path.

    Units that have a state already keep the fit with which they have learned to live.
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
            if len(leaf.axes) < 2 and bits < LEAST_OF_VECTORS:
                own[:, i] = np.inf
                continue
            all_bits, group_size = np.full(num_units, bits), context.quantize.group_size
            fresh, sums = fit_weight(*pair, axis, all_bits, group_size)
            keeps = bits_now.get(key, FULL) == bits
            own_fits[i][leaf.path] = np.where(keeps, fits_now.get(leaf.path, 1), fresh)
            own[:, i] += 0.5 * sums
    return errors, fits
