"""Rounding to the nearest, as other software does it: groups of inputs share a grid.

A grid has a step (of 16 bits), and with ``min`` an offset as well. *Fitted* grids are
the best of `SHRINKS` times the plain one, errors weighted by the mean square of the
input that they are multiplied with.
"""

import numpy as np
from jaxtyping import Float

SHRINKS = np.linspace(0.5, 1.1, 25, dtype=np.float32)

GROUPS = {"nearest": 32, "nearest-min": 64}
"""Inputs that share a grid. Both kinds of grids cost half a bit for each weight."""


def round_rows(
    rows: Float[np.ndarray, "O I"],
    bits: int,
    kind: str,
    weights: Float[np.ndarray, " I"] | None = None,
) -> Float[np.ndarray, "O I"]:
    """Returns rows on their grids.

    Args:
        rows: What each output reads.
        bits: Bits of a number.
        kind: A key of `GROUPS`.
        weights: How much errors of each input count, for fitted grids; None for plain
            ones.
    """
    size = GROUPS[kind]
    parts = np.asarray(rows, np.float32).reshape(len(rows), -1, size)
    to_grid = _with_offset if kind == "nearest-min" else _symmetric
    if weights is None:
        return to_grid(parts, bits, np.float32(1)).reshape(rows.shape)
    counts = np.asarray(weights, np.float32).reshape(1, -1, size)
    best, least = parts, np.full((*parts.shape[:2], 1), np.inf, np.float32)
    for shrink in SHRINKS:
        rounded = to_grid(parts, bits, shrink)
        errors = (counts * (parts - rounded) ** 2).sum(-1, keepdims=True)
        best = np.where(errors < least, rounded, best)
        least = np.minimum(least, errors)
    return best.reshape(rows.shape)


def _symmetric(parts: np.ndarray, bits: int, shrink: np.float32) -> np.ndarray:
    """Returns multiples of a step of which the farthest number is one."""
    half = 2.0 ** (bits - 1)
    at = np.abs(parts).argmax(-1)[..., None]
    step = _as_half(np.take_along_axis(parts, at, -1) / -half * shrink)
    safe = np.where(step == 0, np.float32(1), step)
    return np.clip(np.round(parts / safe), -half, half - 1) * step


def _with_offset(parts: np.ndarray, bits: int, shrink: np.float32) -> np.ndarray:
    """Returns numbers between the least and the greatest one, at equal distances."""
    low, high = parts.min(-1, keepdims=True), parts.max(-1, keepdims=True)
    middle, most = (low + high) / 2, 2.0**bits - 1
    low, high = (middle + (end - middle) * shrink for end in (low, high))
    step, low = _as_half((high - low) / most), _as_half(low)
    safe = np.where(step == 0, np.float32(1), step)
    return np.clip(np.round((parts - low) / safe), 0, most) * step + low


def _as_half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)
