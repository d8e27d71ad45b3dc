"""Scaled rotary positions, as GGUF and Hugging Face files tell them.

GGUF writes ``llama3`` as a tensor, ``rope_freqs.weight``, with one divisor for each
frequency; Hugging Face files tell the four numbers that the divisors come from.
"""

import math
from typing import Any

import numpy as np

DEFAULT_BASE = 10_000.0
ORIGINAL_LENGTH = 8192
"""Context length before scaling of the models that have this kind of scaling."""

TOLERANCE = 1e-5
"""Largest relative difference of divisors: those of files were computed in 32 bits."""


def llama3_divisors(rope: dict[str, Any], head_dim: int) -> np.ndarray:
    """Returns the divisor of each frequency, ``[head_dim / 2]``.

    Args:
        rope: ``rope_parameters`` of a config.
        head_dim: Width of a head, H.

    References:
        Llama Team, "The Llama 3 Herd of Models", 2024, and its published code.
    """
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] / _wavelengths(rope, head_dim)
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)


def _wavelengths(rope: dict[str, Any], head_dim: int) -> np.ndarray:
    """Returns the positions of one turn, for each frequency."""
    base = rope.get("rope_theta", DEFAULT_BASE)
    exponents = np.arange(0, head_dim, 2, dtype=np.float64) / head_dim
    return 2 * math.pi * base**exponents


def find_llama3(
    divisors: np.ndarray, base: float, head_dim: int, length: int = ORIGINAL_LENGTH
) -> dict[str, Any] | None:
    """Returns the ``rope_parameters`` that the divisors come from.

    Between the frequencies that are kept and those that are divided by the whole
    factor, ``1 / divisor`` is linear in the frequency; two of them tell the line.

    Args:
        divisors: Those of a file, ``[head_dim / 2]``.
        base: Base of the rotary angles.
        head_dim: Width of a head, H.
        length: Context length before scaling; any other one with its own factors
            describes the same divisors.

    Returns:
        The parameters, or None if the divisors are of another kind.
    """
    factor = float(divisors.max())
    if not 1 < factor < math.inf or divisors.shape != (head_dim // 2,):
        return None
    rope: dict[str, Any] = {"rope_type": "llama3", "rope_theta": base}
    rope |= {"factor": factor, "original_max_position_embeddings": length}
    candidates = [(1.0, 4.0), _fit(divisors, rope, head_dim)]
    for low, high in filter(None, candidates):
        rope |= {"low_freq_factor": low, "high_freq_factor": high}
        expected = llama3_divisors(rope, head_dim)
        if np.allclose(divisors, expected, rtol=TOLERANCE, atol=0):
            return rope
    return None


def _fit(
    divisors: np.ndarray, rope: dict[str, Any], head_dim: int
) -> tuple[float, float] | None:
    """Returns the low and the high factor of the line through those in between."""
    factor, length = rope["factor"], rope["original_max_position_embeddings"]
    turns = length / _wavelengths(rope, head_dim)
    smooth = (1 / divisors.astype(np.float64) - 1 / factor) / (1 - 1 / factor)
    between = (smooth > 1e-4) & (smooth < 1 - 1e-4)
    if between.sum() < 2:
        return None
    slope, start = np.polyfit(turns[between], smooth[between], 1)
    if slope <= 0:
        return None
    low = -start / slope
    return _rounded(low), _rounded(low + 1 / slope)


def _rounded(value: float) -> float:
    near = round(value, 3)
    return near if abs(near - value) < 1e-3 * abs(value) else float(value)
