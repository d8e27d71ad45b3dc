"""A unit is removed when its removal costs less than the price of its size.

Closing unit u costs, to second order and with the gate's gradient ``g_u``,

    d_u = 1/2 * E[g_u^2]

This ranks units. But it is of the batch mean, far from the true change of the loss, and
it ignores what units do together. So it is scaled to nats by probes: true changes of
the loss on one batch. Each head, group, sublayer and layer is left out alone. Of the
units of an MLP and of the residual stream, the weakest eighth, quarter and half are
left out together; predicted sums are mapped to the measured changes between these.
Where half or more are predicted to cost exactly nothing, such as units that never fire,
these are left out with an eighth, a quarter and half of the others.
"""

import itertools

import numpy as np

from slimjax.budget.limits import LAYER
from slimjax.budget.units import Costs
from slimjax.models.paths import layer_module
from slimjax.nn.gates import NESTED, SUBLAYER, is_width
from slimjax.objective.price import (
    GateMoments,
    corrected_second_moment,
    track_gate_moments,
)
from slimjax.strategies.base import (
    SeamContext,
    Strategy,
    find_state,
    goes_with_its_group,
    host_gates,
)
from slimjax.strategies.exchange_bits import bit_cost
from slimjax.trees import Path

PROBED_FRACTIONS = (0.125, 0.25, 0.5)
"""Parts of an MLP that are closed to calibrate its units."""

MAX_LEFT_OUT = 64
"""Units of one gate up to which each is left out alone."""

FLOOR = 1e-7
"""Least cost of a unit, nats: removal is never estimated to lower the loss."""


def cost(context: SeamContext) -> Costs:
    """Returns the nats that closing each unit costs, by gate."""
    moments = find_state(context.opt_state, GateMoments)
    second = host_gates(corrected_second_moment(moments)["gates"])
    before = context.probe({})
    costs = {}
    for path, moment in second.items():
        predicted = 0.5 * moment
        if is_width(path[-1]) and not context.limits.may_move(path):
            costs[path] = predicted  # It is not used, and probes cost time.
        elif goes_with_its_group(path, context.inventory.gates):
            costs[path] = predicted
        elif path[-1] == SUBLAYER or path[-1] in ("heads", NESTED["heads"]):
            costs[path] = _leave_one_out(context, path, np.asarray(predicted), before)
        else:
            costs[path] = _calibrate(context, path, predicted, before)
    return {**costs, **_leave_layers_out(context, before)}


def _leave_layers_out(context: SeamContext, before: float) -> Costs:
    """Returns the true loss change of closing all sublayers of each layer."""
    wholes = {
        path: layer_module(path)
        for path in context.inventory.gates
        if path[-1] == SUBLAYER
    }
    costs = {}
    for module in sorted({module for module in wholes.values() if module}):
        gates = {path: np.zeros(()) for path, own in wholes.items() if own == module}
        if len(gates) > 1 and LAYER in context.limits.units:
            change = context.probe(gates) - before
            costs[(*module, LAYER)] = np.asarray(np.maximum(change, FLOOR))
    return costs


def _leave_one_out(
    context: SeamContext, path: Path, predicted: np.ndarray, before: float
) -> np.ndarray:
    """Returns the true loss change of closing each unit alone."""
    if predicted.size > MAX_LEFT_OUT:
        return _calibrate(context, path, predicted, before)
    measured = np.empty(predicted.size)
    for i in range(predicted.size):
        closed = np.ones(predicted.size)
        closed[i] = 0.0
        gates = {path: closed.reshape(predicted.shape)}
        measured[i] = context.probe(gates) - before
    return np.maximum(measured, FLOOR).reshape(predicted.shape)


def _calibrate(
    context: SeamContext, path: Path, predicted: np.ndarray, before: float
) -> np.ndarray:
    """Returns costs whose sums, weakest first, meet the measured loss changes."""
    order = np.argsort(predicted, kind="stable")
    sums = np.cumsum(predicted[order])

    def probe(num_closed: int) -> tuple[float, float]:
        closed = np.ones(predicted.size)
        closed[order[:num_closed]] = 0.0
        change = max(context.probe({path: closed}) - before, FLOOR * num_closed)
        return sums[num_closed - 1], change

    known = [(0.0, 0.0), *map(probe, _probed_counts(predicted.size))]
    if not known[-1][0] and sums[-1]:  # The weakest half show nothing of the others.
        num_free = int(np.count_nonzero(sums == 0))
        others = _probed_counts(predicted.size - num_free)
        known += [probe(num_free + count) for count in others]
    costs = np.empty(predicted.size)
    costs[order] = np.diff(_map_monotone(sums, known), prepend=0.0)
    return np.maximum(costs, FLOOR)


def _probed_counts(num_units: int) -> list[int]:
    """Returns how many units, the weakest, are left out together in each probe."""
    return [max(1, round(fraction * num_units)) for fraction in PROBED_FRACTIONS]


def _map_monotone(sums: np.ndarray, known: list[tuple[float, float]]) -> np.ndarray:
    """Returns `sums` mapped by straight lines through the known points and beyond."""
    points = [known[0]]
    for x, y in known[1:]:
        if x > points[-1][0]:
            points.append((x, max(y, points[-1][1])))
    if len(points) == 1:  # Nothing was predicted to matter: as measured, evenly.
        return np.linspace(0, known[-1][1], len(sums) + 1)[1:]
    xs, ys = np.array(points).T
    slopes = [
        (y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in itertools.pairwise(points)
    ]
    beyond = np.maximum(sums - xs[-1], 0.0) * max(slopes[-1], ys[-1] / xs[-1])
    return np.interp(sums, xs, ys) + beyond


STRATEGY = Strategy(
    make_gate_tx=lambda _: track_gate_moments(),
    cost=cost,
    bit_cost=bit_cost,
    costs_are_nats=True,
)
