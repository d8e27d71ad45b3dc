"""Depths: bits as numbers that are learned, by a rounding that has a slope in them.

A row w of depth b, a real number from 0 to 16, becomes

    Q(w, b) = s round(clip(w / s, -c, c)),    c = (2^b - 1) / 2

where ``round`` goes to the nearest of ..., -1/2, 1/2, 3/2, ... within the ends, and
its slope is taken to be 1: a weight beyond the ends pulls at b, one within at itself.
The step ``s = fit * step(b) * rms(w)`` has a slope in b, too. At the bits that a unit
may have Q is the quantizer of `slimjax.nn.quantize`; at depth 0 nothing is left of w.

Unlike in the paper levels lie around zero and not on it, as they do in the packed file,
and the step follows from the depth in place of being learned beside it.

References:
    Csefalvay and Imber, "Self-Compressing Neural Networks", 2023, equation 1.
    Esser et al., "Learned Step Size Quantization", 2020, section 2.1 (slope of a step).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Float, PyTree

from slimjax.nn.quantize import (
    FULL,
    bit_axis,
    bit_key,
    from_rows,
    row_steps,
    spread,
    to_rows,
)
from slimjax.trees import flatten, unflatten

DEPTHS = "depths"
"""Name of the depths, float32 [U] by bit key, among a run's parameters."""

BEST = (1.5958, 1.5958, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308)
STEPS = np.array([*BEST, *(0.0308 * 0.53**n for n in range(1, 9))], np.float32)
"""Distance of levels that is best for normal numbers of deviation 1, by whole bits."""


def round_to_depths(
    weights: PyTree, names: PyTree, depths: PyTree, fits: PyTree, group_size: int = 0
) -> PyTree:
    """Returns weights rounded to their depths, with slopes in weights and depths.

    Args:
        weights: Weights, by nested names.
        names: Names of their axes.
        depths: Depths of the units of each bit key.
        fits: Factors of the steps of the units of each weight.
        group_size: Elements that share a step; 0 for the whole row.
    """
    axes, own, factors = flatten(names), flatten(depths), flatten(fits)

    def rounded(path: tuple, weight: Any) -> Array:
        axis, depth = bit_axis(axes[path]), own[bit_key(path, axes[path])]
        rows = to_rows(weight, axis)
        levels = round_rows(rows, depth, factors[path], group_size)
        levels = jnp.where(depth[:, None] < FULL, levels, rows)
        return from_rows(levels, axis, weight.shape)

    return unflatten({path: rounded(path, w) for path, w in flatten(weights).items()})


def round_rows(
    rows: Float[Array, "U E"],
    depth: Float[Array, " U"],
    fit: Float[Array, " U"],
    group_size: int = 0,
) -> Float[Array, "U E"]:
    """Returns Q(w, b) for each row.

    Examples:
        >>> rows, one = jnp.array([[0.2, 1.4, -0.2, -1.4]]), jnp.ones(1)
        >>> [round_rows(rows, b * one, one).round(1).tolist() for b in (2, 0)]
        [[[0.5, 1.5, -0.5, -1.5]], [[0.0, 0.0, 0.0, 0.0]]]
    """
    factors = jnp.interp(depth, np.arange(FULL + 1), STEPS) * fit
    smooth = row_steps(stop_gradient(rows), factors, group_size)
    step = spread(smooth, rows.shape[1], group_size)
    end = ((jnp.exp2(depth) - 1) / 2)[:, None]
    inside = jnp.clip(rows / step, -end, end)
    nearest = jnp.clip(jnp.floor(inside) + 0.5, -end, end)
    return step * (inside + stop_gradient(nearest - inside))
