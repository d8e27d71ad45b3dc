"""Rounding a matrix to blocks of a GGUF file by second order.

Steps and minima are fitted first, to the errors weighted by the mean squares of the
inputs. Then inputs are rounded one after the other, the largest first, and those that
are left make good what each one loses.

References:
    Frantar et al., "GPTQ", 2023 (with act-order and fixed groups).
"""

import numpy as np
from jaxtyping import Float

from slimjax.errors import ConfigError
from slimjax.interop.gguf_blocks import BLOCK, LEVELS, Blocks, half

DAMPING = 0.01
"""Added to the diagonal of the moment, as a part of its mean."""

PANEL = 128
"""Inputs whose changes are added to the rest of a matrix at once."""

SHRINKS = np.linspace(1.0, 0.6, 17, dtype=np.float32)
"""Parts of the range of a block that its levels may span."""


def round_to_blocks(
    weight: Float[np.ndarray, "O I"],
    moment: Float[np.ndarray, "I I"],
    kind: str,
) -> Blocks:
    """Returns blocks that change a product's outputs least, near a given matrix.

    Args:
        weight: The matrix W of ``W x``.
        moment: ``E[x x^T]`` of its inputs.
        kind: ``Q4_0``, ``Q4_1`` or ``Q8_0``.

    Raises:
        ConfigError: If the rows are no whole number of blocks.
    """
    rows, columns = weight.shape
    if kind not in LEVELS or columns % BLOCK:
        raise ConfigError(f"{kind} does not hold rows of {columns} numbers.")
    weight = np.asarray(weight, np.float32)
    steps, minima = fit_blocks(weight, np.diag(moment), kind)
    order = np.argsort(-np.diag(moment), kind="stable")
    factor = _factor(moment[np.ix_(order, order)])
    rest, levels = weight[:, order].copy(), np.empty((rows, columns), np.int8)
    own = order // BLOCK
    for start in range(0, columns, PANEL):
        stop = min(start + PANEL, columns)
        errors = np.empty((rows, stop - start), np.float32)
        for i in range(start, stop):
            step, least = steps[:, own[i]], minima[:, own[i]]
            level = _nearest(rest[:, i], step, least, kind)
            levels[:, order[i]] = level
            error = (rest[:, i] - (step * level + least)) / factor[i, i]
            rest[:, i + 1 : stop] -= error[:, None] * factor[i, i + 1 : stop]
            errors[:, i - start] = error
        rest[:, stop:] -= errors @ factor[start:stop, stop:]
    return Blocks(kind, levels, steps, minima if kind == "Q4_1" else None)


def fit_blocks(
    weight: Float[np.ndarray, "O I"], counts: Float[np.ndarray, " I"], kind: str
) -> tuple[Float[np.ndarray, "O B"], Float[np.ndarray, "O B"]]:
    """Returns the steps and minima with the least weighted error in each block.

    Args:
        weight: The matrix.
        counts: How much an error of each input counts.
        kind: ``Q4_0``, ``Q4_1`` or ``Q8_0``.

    Returns:
        Numbers that float16 holds; minima are 0 but in ``Q4_1``.
    """
    parts = weight.reshape(len(weight), -1, BLOCK)
    counts = counts.reshape(-1, BLOCK).astype(np.float32)
    best = np.full(parts.shape[:2], np.inf, np.float32)
    steps, minima = np.zeros_like(best), np.zeros_like(best)
    for step, least in _candidates(parts, kind):
        for tried in ((step, least), _refit(parts, counts, step, least, kind)):
            own, low = (half(number) for number in tried)
            level = _nearest(parts, own[..., None], low[..., None], kind)
            error = parts - (own[..., None] * level + low[..., None])
            loss = np.einsum("obi,bi->ob", np.square(error), counts)
            better = loss < best
            best = np.where(better, loss, best)
            steps, minima = (
                np.where(better, new, old) for new, old in ((own, steps), (low, minima))
            )
    return steps, minima


def _candidates(parts: np.ndarray, kind: str):
    """Yields steps and minima to begin with, for each block."""
    least, most = LEVELS[kind]
    low, high = parts.min(-1), parts.max(-1)
    zero = np.zeros_like(low)
    if kind == "Q4_1":
        for shrink in SHRINKS:
            middle, reach = (high + low) / 2, shrink * (high - low) / 2
            yield 2 * reach / most, middle - reach
        return
    largest = np.where(-low > high, low, high)  # With its sign.
    for shrink in SHRINKS if kind == "Q4_0" else SHRINKS[:1]:
        yield shrink * largest / least, zero
        yield shrink * largest / most, zero


def _refit(
    parts: np.ndarray,
    counts: np.ndarray,
    step: np.ndarray,
    least: np.ndarray,
    kind: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the step and minimum that are best for the levels of another pair."""
    level = _nearest(parts, step[..., None], least[..., None], kind)
    sums = lambda x: np.einsum("obi,bi->ob", x, counts)
    square, cross = sums(level * level), sums(level * parts)
    if kind != "Q4_1":
        return np.where(square > 0, cross / np.maximum(square, 1e-30), step), least
    total = np.broadcast_to(counts.sum(-1), square.shape)
    first, mean = sums(level), sums(parts)
    spread = total * square - first * first
    is_flat = spread <= 1e-6 * total * square
    slope = (total * cross - first * mean) / np.where(is_flat, 1, spread)
    start = (mean - slope * first) / np.maximum(total, 1e-30)
    return np.where(is_flat, step, slope), np.where(is_flat, least, start)


def _nearest(
    numbers: np.ndarray, step: np.ndarray, least: np.ndarray, kind: str
) -> np.ndarray:
    """Returns the levels next to numbers, float32."""
    is_flat = step == 0
    level = (numbers - least) / np.where(is_flat, np.float32(1), step)
    level = np.clip(np.rint(level), *LEVELS[kind])
    return np.where(is_flat, np.float32(0), level).astype(np.float32)


def _factor(moment: np.ndarray) -> np.ndarray:
    """Returns U of ``A^-1 = U^T U``, upper triangular, of the damped moment A."""
    damped = np.array(moment, np.float64)
    mean = float(np.mean(np.diag(damped)))
    damped[np.diag_indices_from(damped)] += DAMPING * mean or 1.0
    inverse = np.linalg.inv(damped)
    return np.linalg.cholesky((inverse + inverse.T) / 2).T.astype(np.float32)
