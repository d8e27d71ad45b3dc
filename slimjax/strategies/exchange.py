"""Each unit is exchanged for its price when it is worth less than that.

Closing unit u costs, to second order and with the gate's gradient ``g_u``,

    d_u = 1/2 * E[g_u^2]

which ranks units but is of the batch mean, far from the true loss, and blind to what
units do together. So it is brought to nats by probes, true loss changes on one batch:
each head, each group, each sublayer and each layer left out alone; and of the MLP and
of the residual stream the weakest eighth, quarter and half, between which the predicted
sums are mapped to the measured.
"""

import itertools

import numpy as np

from slimjax.nn.gates import NESTED, SUBLAYER, is_width
from slimjax.objective.limits import LAYER
from slimjax.objective.price import (
    GateMoments,
    corrected_second_moment,
    track_gate_moments,
)
from slimjax.objective.units import Costs
from slimjax.strategies.base import (
    SeamContext,
    Strategy,
    find_state,
    goes_with_its_group,
    host_gates,
)
from slimjax.strategies.exchange_bits import judge_bits
from slimjax.trees import Path

PROBED_FRACTIONS = (0.125, 0.25, 0.5)
"""Parts of an MLP that are closed to calibrate its units."""

MAX_LEFT_OUT = 64
"""Units of one gate up to which each is left out alone."""

FLOOR = 1e-7
"""Least cost of a unit, nats: closing is never said to be worth something by itself."""


def judge(context: SeamContext) -> Costs:
    """Returns the nats that closing each unit costs, by gate."""
    moments = find_state(context.opt_state, GateMoments)
    second = host_gates(corrected_second_moment(moments)["gates"])
    before = context.probe({})
    costs = {}
    for path, moment in second.items():
        predicted = 0.5 * moment
        if is_width(path[-1]) and not context.limits.may_move(path):
            costs[path] = predicted  # It matters to nobody, and probes cost time.
        elif goes_with_its_group(path, context.inventory.gates):
            costs[path] = predicted
        elif path[-1] == SUBLAYER or path[-1] in ("heads", *NESTED.values()):
            costs[path] = _leave_one_out(context, path, predicted, before)
        else:
            costs[path] = _calibrate(context, path, predicted, before)
    return {**costs, **_leave_layers_out(context, before)}


def _leave_layers_out(context: SeamContext, before: float) -> Costs:
    """Returns the true loss change of closing all sublayers of each module."""
    wholes = [path for path in context.inventory.gates if path[-1] == SUBLAYER]
    costs = {}
    for module in sorted({path[:-2] for path in wholes}):
        gates = {p: np.zeros(()) for p in wholes if p[:-2] == module}
        if len(gates) > 1 and LAYER in context.limits.units:
            change = context.probe(gates) - before
            costs[(*module, LAYER)] = np.maximum(change, FLOOR)
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
    known = [(0.0, 0.0)]
    for fraction in PROBED_FRACTIONS:
        num_closed = max(1, round(fraction * predicted.size))
        closed = np.ones(predicted.size)
        closed[order[:num_closed]] = 0.0
        change = max(context.probe({path: closed}) - before, FLOOR * num_closed)
        known.append((sums[num_closed - 1], change))
    costs = np.empty(predicted.size)
    costs[order] = np.diff(_map_monotone(sums, known), prepend=0.0)
    return np.maximum(costs, FLOOR)


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
    judge=judge,
    judge_bits=judge_bits,
    costs_are_nats=True,
)
