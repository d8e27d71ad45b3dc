"""Training with weights of few bits: they pass through the quantizer in every step."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax.nn.axes import to_host
from slimjax.nn.depths import DEPTHS, round_to_depths
from slimjax.nn.quantize import (
    PRECISION,
    Precision,
    bit_axis,
    bit_key,
    fit_weight,
    precision_names,
    quantize,
    to_rows,
)
from slimjax.resize.plan import Change
from slimjax.resize.shrink import cut, take
from slimjax.trees import Path, flatten, unflatten


def quantized(
    fn: Callable[..., Any], names: PyTree, group_size: int
) -> Callable[..., Any]:
    """Returns a function of (variables, ...) that rounds weights to their bits.

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


def cut_precision(
    precision: Precision, weights: PyTree, names: PyTree, plan: Change, group_size: int
) -> Precision:
    """Returns bits and fits of what stays, with which levels stay where they are.

    A step is a part of its row's root mean square, which changes when channels leave
    the row: ``fit' = fit * rms(row) / rms(what stays of it)``. Groups of a row are
    others afterwards, and have levels of their own.

    Args:
        precision: That of the weights before the cut, on the host.
        weights: Weights before the cut; rows that are cut come to the host, one weight
            at a time, so that a mesh gets the same fits as one device.
        names: Names of their axes.
        plan: What stays.
        group_size: Elements that share a step between levels.
    """
    of_bits, axes, leaves = precision_names(names), flatten(names), flatten(weights)
    kept = {kind: cut(precision[kind], of_bits[kind], plan) for kind in of_bits}

    def carry(path: Path, fit: np.ndarray) -> np.ndarray:
        axis = bit_axis(axes[path])
        indices = plan.indices(path, leaves[path].shape, axes[path])
        units = [kept if i == axis else None for i, kept in enumerate(indices)]
        if group_size or all(a is b for a, b in zip(indices, units, strict=True)):
            return fit
        weight = np.asarray(to_host(leaves[path]), np.float64)
        rows = (to_rows(take(weight, k, axes[path]), axis) for k in (units, indices))
        before, after = (np.mean(own**2, axis=1) + 1e-30 for own in rows)
        return (fit * np.sqrt(before / after)).astype(np.float32)

    fits = {path: carry(path, fit) for path, fit in flatten(kept["fit"]).items()}
    return {"bits": kept["bits"], "fit": unflatten(fits)}


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
