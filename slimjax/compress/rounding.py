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
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from slimjax.compress.removal import damp
from slimjax.nn.axes import numpy_of
from slimjax.nn.quantize import (
    FITS,
    FULL,
    STEPS,
    fit_rows,
    num_groups,
    row_steps,
    spread,
)
from slimjax.trees import Path

DAMPING = 0.01
"""Added to the diagonal of A, as a part of its mean."""

BLOCK = 128
"""Inputs whose changes are added to the rest of a weight at once."""

PARTS = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], np.float32)
"""Parts of the largest number of a group, to which levels may reach."""

DISTORTION = {2: 0.1188, 3: 0.03744, 4: 0.01154, 6: 0.00104, 8: 9.2e-5, FULL: 1.3e-6}
"""Mean squared error of normal numbers of deviation 1 at the steps of `STEPS`, by bits;
of bfloat16 that of its eight bits of precision."""


class Rounder(Protocol):
    """What rounds weights, and remembers how."""

    def round(
        self, path: Path, weight: np.ndarray, moment: Float[np.ndarray, "I I"]
    ) -> np.ndarray:
        """Returns a weight on its levels.

        Args:
            path: Its path.
            weight: In the shape that the model has.
            moment: Of what it reads.
        """
        ...


def fit_steps(
    rows: Float[np.ndarray, "U E"],
    weights: Float[np.ndarray, "U E"],
    bits: int,
    group_size: int = 0,
) -> Float[np.ndarray, "U G"]:
    """Returns the steps between levels with the least weighted error in each group.

    Args:
        rows: What each unit holds.
        weights: How much an error of each element counts.
        bits: Bits of an element.
        group_size: Elements that share a step; 0 for the whole row.
    """
    length, size = rows.shape[1], group_size or rows.shape[1]
    groups = num_groups(length, group_size)
    whole = length // size * size
    parts = [(rows[:, :whole], weights[:, :whole])] if whole else []
    parts += [(rows[:, whole:], weights[:, whole:])] if whole < length else []
    steps = []
    for own, counts in parts:
        width = min(size, own.shape[1])
        own, counts = own.reshape(-1, width), counts.reshape(-1, width)
        fit = _fit(own, counts, bits)
        own_steps = row_steps(own, np.float32(STEPS[bits]) * fit, 0)
        steps.append(own_steps.reshape(len(rows), -1))
    found = np.concatenate(steps, axis=1)
    assert found.shape[1] == groups
    return found


def _fit(rows: np.ndarray, counts: np.ndarray, bits: int) -> np.ndarray:
    """Returns the fit of each row; on an accelerator, if there is one."""
    if jax.default_backend() == "cpu":
        factors = _factors(rows, bits)
        return fit_rows(rows, counts, np.full(len(rows), bits), 0, factors)[0]
    return np.asarray(_fit_on_device(rows, counts, bits))


def _factors(rows: Any, bits: int) -> Any:
    """Returns factors of the best step for normal numbers, ``[K U]``.

    Those of `FITS`, and those whose levels reach to parts of the largest number of each
    row: a few weights of pretrained models are far larger than all others.
    """
    xp = numpy_of(rows)
    rms = xp.sqrt((rows * rows).mean(1)) + np.float32(1e-12)
    reach = xp.abs(rows).max(1) / (rms * np.float32(STEPS[bits] * 2 ** (bits - 1)))
    usual = xp.broadcast_to(FITS[:, None], (len(FITS), len(rows)))
    return xp.concatenate([usual, PARTS[:, None] * reach[None]], axis=0)


@functools.partial(jax.jit, static_argnums=2)
def _fit_on_device(rows: Array, counts: Array, bits: int) -> Any:
    own = jnp.full(len(rows), bits, jnp.int32)
    return fit_rows(rows, counts, own, 0, _factors(rows, bits))[0]


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
    damping: float = DAMPING,
) -> Float[np.ndarray, "I O"]:
    """Returns a weight on its levels whose outputs are nearly those of the given one.

    Args:
        weight: W, of a product ``h W``.
        moment: ``E[h^T h]``, A.
        steps: The step of each element.
        bits: Bits of an element.
        damping: Added to the diagonal of A, as a part of its mean.
    """
    order = np.argsort(-np.diag(moment), kind="stable")
    factor = _inverse_factor(damp(moment, damping)[np.ix_(order, order)])
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
    damping: float = DAMPING,
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
        damping: Added to the diagonal of A, as a part of its mean.
    """
    assert weight.shape == squares.shape
    order = np.argsort(-np.diag(moment), kind="stable")
    factor = _inverse_factor(damp(moment, damping)[np.ix_(order, order)])
    left = np.empty(len(order))
    left[order] = 1.0 / np.diag(factor).astype(np.float64) ** 2
    unit = 0.5 * float(left @ squares.astype(np.float64) @ slopes)
    return unit * np.array([DISTORTION[bits] for bits in states])


def group_squares(
    rows: Float[np.ndarray, "U E"], group_size: int = 0
) -> Float[np.ndarray, "U E"]:
    """Returns, for each element, the mean square of those that share its step."""
    rms = row_steps(rows, np.ones(len(rows), np.float32), group_size)
    return np.broadcast_to(spread(rms, rows.shape[1], group_size) ** 2, rows.shape)


def _inverse_factor(moment: Float[np.ndarray, "I I"]) -> Float[np.ndarray, "I I"]:
    """Returns the upper U with ``U^T U = moment^-1``, float32."""
    lower = np.linalg.cholesky(moment[::-1, ::-1])[
        ::-1, ::-1
    ]  # moment = R R^T, R upper.
    # moment = R R^T with R upper, hence moment^-1 = (R^-1)^T R^-1, and R^-1 is upper.
    return np.linalg.inv(lower).astype(np.float32)
