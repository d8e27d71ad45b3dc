"""Grids of the groups of a weight, fitted to the error that counts.

References:
    Max, "Quantizing for Minimum Distortion", 1960 (the steps).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from slimjax.nn.axes import numpy_of
from slimjax.nn.grids import Grid, Scales, as_grid
from slimjax.nn.quantize import FITS, STEPS, fit_rows, num_groups, row_steps, spread

PARTS = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], np.float32)
"""Parts of the largest number of a group, to which levels may reach."""


def fit_scales(
    rows: Float[np.ndarray, "R E"],
    weights: Float[np.ndarray, "R E"],
    bits: int,
    grid: Grid,
) -> Scales:
    """Returns the levels of rows with the least weighted error in each group.

    Args:
        rows: The rows.
        weights: How much an error of each element counts.
        bits: Bits of an element.
        grid: Which elements share a step, and whether levels lie around a middle: that
            between the ends of the group, or its mean, whichever is better.
    """
    size = grid.group_size
    if not grid.has_minimum:
        return Scales(_fit_groups(rows, weights, bits, size)[0])
    found = []
    for middles in _middles(rows, size):
        rest = rows - spread(middles, rows.shape[1], size)
        found.append((middles, *_fit_groups(rest, weights, bits, size)))
    (first, own, error), (second, other, other_error) = found
    is_first = error <= other_error
    steps, middles = np.where(is_first, own, other), np.where(is_first, first, second)
    return Scales(steps, middles)


def _middles(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Returns two middles of each group: between its ends, and its mean."""
    length = rows.shape[1]
    starts = np.arange(0, max(length, 1), size or max(length, 1))
    low, high = (f.reduceat(rows, starts, axis=1) for f in (np.minimum, np.maximum))
    counts = np.diff([*starts, length]).astype(np.float32)
    means = np.add.reduceat(rows, starts, axis=1) / counts
    as_stored = lambda values: values.astype(jnp.bfloat16).astype(np.float32)
    return [as_stored((low + high) / 2), as_stored(means)]


def _fit_groups(
    rows: np.ndarray, weights: np.ndarray, bits: int, group_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps of all groups, ``[R G]``, and what error they leave."""
    length, size = rows.shape[1], group_size or rows.shape[1]
    whole = length // size * size
    parts = [(rows[:, :whole], weights[:, :whole])] if whole else []
    parts += [(rows[:, whole:], weights[:, whole:])] if whole < length else []
    steps, errors = [], []
    for own, counts in parts:
        width = min(size, own.shape[1])
        own, counts = own.reshape(-1, width), counts.reshape(-1, width)
        fit, error = _fit(own, counts, bits)
        own_steps = row_steps(own, np.float32(STEPS[bits]) * fit, 0)
        steps.append(own_steps.reshape(len(rows), -1))
        errors.append(error.reshape(len(rows), -1))
    found = np.concatenate(steps, axis=1)
    assert found.shape[1] == num_groups(length, group_size)
    return found, np.concatenate(errors, axis=1)


def _fit(rows: np.ndarray, counts: np.ndarray, bits: int) -> tuple[Any, Any]:
    """Returns fit and error of each row; on an accelerator, if there is one."""
    if jax.default_backend() == "cpu":
        factors = _factors(rows, bits)
        return fit_rows(rows, counts, np.full(len(rows), bits), 0, factors)
    fit, error = _fit_on_device(rows, counts, bits)
    return np.asarray(fit), np.asarray(error)


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
    return fit_rows(rows, counts, own, 0, _factors(rows, bits))


def group_squares(rows: Float[np.ndarray, "R E"], grid: Grid | int = 0) -> np.ndarray:
    """Returns, for each element, the mean square of those that share its step.

    ``[R E]``; about the middle of the group, if it has one.
    """
    grid, length = as_grid(grid), rows.shape[1]
    if grid.has_minimum:
        _, means = _middles(rows, grid.group_size)
        rows = rows - spread(means, length, grid.group_size)
    rms = row_steps(rows, np.ones(len(rows), np.float32), grid.group_size)
    return np.broadcast_to(spread(rms, length, grid.group_size) ** 2, rows.shape)
