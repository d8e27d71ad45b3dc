"""Training with weights of few bits: they pass through the quantizer in every step."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax.nn.axes import to_host
from slimjax.nn.depths import DEPTHS, round_to_depths
from slimjax.nn.quantize import (
    Precision,
    bit_axis,
    bit_key,
    fit_weight,
    quantize,
)
from slimjax.strategies.base import weight_curvature
from slimjax.train.state import TrainState
from slimjax.trees import Path, flatten, unflatten

PRECISION = "precision"
"""Collection of variables that tells the bits of weights."""


def quantized(
    fn: Callable[..., Any], names: PyTree, group_size: int
) -> Callable[..., Any]:
    """Returns a function of (variables, ...) whose weights have the bits they are told.

    Variables without the collection `PRECISION` are left as they are; those with depths
    that are learned are rounded to these.

    Args:
        fn: Any function of variables.
        names: Names of the axes of the weights.
        group_size: Elements that share a step between levels.
    """

    @functools.wraps(fn)  # Its name stands in logs of what is compiled.
    def with_levels(variables: PyTree, *rest: Any) -> Any:
        if PRECISION not in variables:
            return fn(variables, *rest)
        told = (PRECISION, DEPTHS)
        others = {kind: tree for kind, tree in variables.items() if kind not in told}
        precision, weights = variables[PRECISION], others["params"]
        if DEPTHS in variables:
            depths, fits = variables[DEPTHS], precision["fit"]
            weights = round_to_depths(weights, names, depths, fits, group_size)
        else:
            weights = quantize(weights, names, precision, group_size)
        return fn({**others, "params": weights}, *rest)

    return with_levels


def round_state(stage: Any, state: TrainState) -> TrainState:
    """Returns a state whose weights have the bits of the stage, if it is time for them.

    Units whose bits are what they were keep their fit: weights that have learned to
    live with their levels lose by others, though those be nearer. So doing it again
    changes nothing.
    """
    if state.precision is None or int(state.step) < stage.run.quantize.first_step:
        return state
    weights, curvature = state.params["params"], weight_curvature(state.opt_state)
    names, group_size = stage.names["params"], stage.run.quantize.group_size
    bits = unflatten(dict(stage.bits))
    fresh = fit_precision(weights, curvature, names, bits, group_size)
    precision = keep_fits(to_host(state.precision), fresh, names)
    placed = stage.place({PRECISION: precision})[PRECISION]
    return dataclasses.replace(state, precision=placed)


def keep_fits(before: Precision, fresh: Precision, names: PyTree) -> Precision:
    """Returns the fresh bits, with the old fits of units whose bits are the same."""
    axes, old, new = flatten(names), flatten(before["fit"]), flatten(fresh["fit"])
    old_bits, bits = flatten(before["bits"]), flatten(fresh["bits"])

    def keep(path: Path) -> np.ndarray:
        key = bit_key(path, axes[path])
        return np.where(old_bits[key] == bits[key], old[path], new[path])

    return {"bits": fresh["bits"], "fit": unflatten({path: keep(path) for path in new})}


def fit_precision(
    weights: PyTree, curvature: PyTree, names: PyTree, bits: PyTree, group_size: int
) -> Precision:
    """Returns bits with the fits that change the loss least, to second order.

    Args:
        weights: Arrays of the host or of devices.
        curvature: Second derivative of the loss, one a weight.
        names: Names of the axes of the weights.
        bits: int32 [U] by bit key.
        group_size: Elements that share a step between levels.
    """
    own, axes, slopes = flatten(bits), flatten(names), flatten(curvature)

    def fit(path: tuple, weight: Any) -> np.ndarray:
        axis, unit_bits = bit_axis(axes[path]), own[bit_key(path, axes[path])]
        return fit_weight(weight, slopes[path], axis, unit_bits, group_size)[0]

    fits = unflatten({path: fit(path, w) for path, w in flatten(weights).items()})
    return {"bits": bits, "fit": fits}
