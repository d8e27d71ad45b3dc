"""When weights get the bits of their stage: from a step on, and again at each seam."""

import dataclasses

from slimjax.nn.axes import to_host
from slimjax.nn.quantize import PRECISION
from slimjax.strategies.base import weight_curvature
from slimjax.train.precision import fit_precision, keep_fits
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState
from slimjax.trees import unflatten


def round_state(stage: Stage, state: TrainState) -> TrainState:
    """Returns a state whose weights have the bits of the stage, if it is time for them.

    Units whose bits are what they were keep their fit: weights that have learned to
    live with their levels lose by others, though those be nearer. So doing it again
    changes nothing.
    """
    blueprint, quantize = stage.blueprint, stage.blueprint.run.quantize
    if state.precision is None or int(state.step) < quantize.first_step:
        return state
    weights, curvature = state.params["params"], weight_curvature(state.opt_state)
    names, bits = blueprint.names["params"], unflatten(dict(blueprint.bits))
    fresh = fit_precision(weights, curvature, names, bits, quantize.group_size)
    precision = keep_fits(to_host(state.precision), fresh, names)
    placed = stage.place({PRECISION: precision})[PRECISION]
    return dataclasses.replace(state, precision=placed)
