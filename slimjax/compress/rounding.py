"""Rounding by second order: what one column loses, those that are left make good.

Inputs of a product go in the order of ``diag A``, the largest first. Each row of the
weight (what one input has) is rounded to levels that are fixed beforehand; the rest of
the weight is then changed so that the output is changed least, by the inverse of the
moment A of the inputs. The grids are fitted beforehand, for the elements that share a
step, to the errors weighted by ``diag A``.

References:
    Frantar et al., "GPTQ", 2023 (with act-order).
    Max, "Quantizing for Minimum Distortion", 1960 (the steps).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from slimjax.compress.removal import damp
from slimjax.compress.scales import fit_scales, group_squares
from slimjax.nn.axes import numpy_of
from slimjax.nn.grids import Grid
from slimjax.nn.quantize import FULL, spread

DAMPING = 0.01
"""Added to the diagonal of A, as a part of its mean."""

BLOCK = 128
"""Inputs whose changes are added to the rest of a weight at once."""

NUM_MEASURED = 64
"""Rows of a weight whose error is measured for the price of its bits."""

DISTORTION = {2: 0.1188, 3: 0.03744, 4: 0.01154, 6: 0.00104, 8: 9.2e-5, FULL: 1.3e-6}
"""Mean squared error of normal numbers of deviation 1 at the steps of `STEPS`, by bits;
of bfloat16 that of its eight bits of precision."""


def round_to_levels(values: Any, steps: Any, bits: int) -> Any:
    """Returns the nearest of ``2^bits`` levels around zero, as `nn.quantize` has them.

    Examples:
        >>> round_to_levels(np.array([0.1, -0.9, 7.0]), np.ones(3), 2)
        array([ 0.5, -0.5,  1.5])
    """
    xp, half = numpy_of(values), 2.0 ** (bits - 1)
    return (xp.clip(xp.floor(values / steps), -half, half - 1) + 0.5) * steps


def round_columns(
    weight: Float[np.ndarray, "I O"],
    moment: Float[np.ndarray, "I I"],
    steps: Float[np.ndarray, "I O"],
    bits: int,
) -> Float[np.ndarray, "I O"]:
    """Returns a weight on its levels whose outputs are nearly those of the given one.

    Args:
        weight: W, of a product ``h W``.
        moment: ``E[h^T h]``, A.
        steps: The step of each element.
        bits: Bits of an element.
    """
    order = np.argsort(-np.diag(moment), kind="stable")
    factor = _inverse_factor(damp(moment, DAMPING)[np.ix_(order, order)])
    rest, steps = weight[order].astype(np.float32), steps[order]
    is_cpu = jax.default_backend() == "cpu"
    rounded = (_round_on_host if is_cpu else round_on_device)(rest, factor, steps, bits)
    back = np.empty_like(rest)
    back[order] = rounded
    return back


def _round_on_host(
    rest: np.ndarray, factor: np.ndarray, steps: np.ndarray, bits: int
) -> np.ndarray:
    """Returns rounded rows; the changes of a block are added to the others at once."""
    rounded = np.empty_like(rest)
    for start in range(0, len(rest), BLOCK):
        stop = min(start + BLOCK, len(rest))
        errors = np.empty((stop - start, rest.shape[1]), np.float32)
        for i in range(start, stop):
            rounded[i] = round_to_levels(rest[i], steps[i], bits)
            errors[i - start] = (rest[i] - rounded[i]) / factor[i, i]
            rest[i + 1 : stop] -= factor[i, i + 1 : stop, None] * errors[i - start]
        rest[stop:] -= factor[start:stop, stop:].T @ errors
    return rounded


@functools.partial(jax.jit, static_argnums=3)
def round_on_device(
    rest: Float[Array, "I O"],
    factor: Float[Array, "I I"],
    steps: Float[Array, "I O"],
    bits: int,
) -> Float[Array, "I O"]:
    """Returns rows that are rounded one after the other, in their order.

    Args:
        rest: The rows.
        factor: Upper U with ``U^T U = A^-1``.
        steps: The step of each element.
        bits: Bits of an element.
    """
    numbers = jnp.arange(len(rest))

    def round_row(i: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, rounded = state
        row = round_to_levels(rest[i], steps[i], bits)
        error = (rest[i] - row) / factor[i, i]
        later = jnp.where(numbers > i, factor[i], 0.0)
        return rest - later[:, None] * error[None], rounded.at[i].set(row)

    return jax.lax.fori_loop(0, len(rest), round_row, (rest, jnp.zeros_like(rest)))[1]


def rounding_nats(
    weight: Float[np.ndarray, "I O"],
    moment: Float[np.ndarray, "I I"],
    slopes: Float[np.ndarray, " O"],
    squares: Float[np.ndarray, "I O"],
    states: tuple[int, ...],
    distortions: Float[np.ndarray, " S"] | None = None,
) -> Float[np.ndarray, " S"]:
    """Returns the nats that rounding a weight to each number of bits is to cost.

    An input's error is made good by those after it, so that what is left of it counts
    by the conditional variance of the input, the inverse square of the diagonal of the
    Cholesky factor of ``A^-1``.

    Args:
        weight: W, for its shape.
        moment: A.
        slopes: Diagonal of the moment of the gradients of outputs.
        squares: Mean square of the elements that share a step with each element.
        states: Numbers of bits.
        distortions: Error of each state as a part of the squares; None for that of
            normal numbers.
    """
    assert weight.shape == squares.shape
    order = np.argsort(-np.diag(moment), kind="stable")
    factor = _inverse_factor(damp(moment, DAMPING)[np.ix_(order, order)])
    left = np.empty(len(order))
    left[order] = 1.0 / np.diag(factor).astype(np.float64) ** 2
    unit = 0.5 * float(left @ squares.astype(np.float64) @ slopes)
    if distortions is None:
        distortions = np.array([DISTORTION[bits] for bits in states])
    return unit * distortions


def measure_distortions(
    rows: Float[np.ndarray, "R E"],
    weights: Float[np.ndarray, "R E"],
    states: tuple[int, ...],
    grid: Grid,
) -> Float[np.ndarray, " S"]:
    """Returns the error of each number of bits, as a part of the mean square of groups.

    Of a few rows. Weights of pretrained models are no normal numbers: a few are far
    larger than all others.

    Args:
        rows: The rows.
        weights: How much an error of each element counts.
        states: Numbers of bits.
        grid: Which elements share a step.
    """
    few = slice(None, None, max(1, len(rows) // NUM_MEASURED))
    rows, weights = rows[few], weights[few]
    total = float(np.sum(weights * group_squares(rows, grid), dtype=np.float64))
    found = []
    for bits in states:
        if bits >= FULL or not total:
            found.append(DISTORTION[bits])
            continue
        scales = fit_scales(rows, weights, bits, grid)
        middles, steps = (
            0.0 if own is None else spread(own, rows.shape[1], grid.group_size)
            for own in (scales.middles, scales.steps)
        )
        error = round_to_levels(rows - middles, steps, bits) + middles - rows
        found.append(float(np.sum(weights * error**2, dtype=np.float64)) / total)
    return np.array(found)


def _inverse_factor(moment: Float[np.ndarray, "I I"]) -> Float[np.ndarray, "I I"]:
    """Returns the upper U with ``U^T U = moment^-1``, float32."""
    lower = np.linalg.cholesky(moment[::-1, ::-1])[
        ::-1, ::-1
    ]  # moment = R R^T, R upper.
    # moment = R R^T with R upper, hence moment^-1 = (R^-1)^T R^-1, and R^-1 is upper.
    return np.linalg.inv(lower).astype(np.float32)
