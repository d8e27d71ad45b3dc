"""Matrices that are rounded already, as blocks of a GGUF file.

A block is 32 numbers of a row with one step, and in ``Q4_1`` one minimum. Steps and
minima are numbers of 16 bits; who rounds with them rounds exactly what is written.
"""

import dataclasses

import numpy as np

from slimjax.errors import ConfigError

BLOCK = 32
LEVELS = {"Q4_0": (-8, 7), "Q4_1": (0, 15), "Q8_0": (-127, 127)}
"""The least and the largest level of each type."""


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """A matrix whose numbers are ``step * level + minimum``.

    Attributes:
        kind: ``Q4_0``, ``Q4_1`` or ``Q8_0``.
        levels: Whole numbers, ``[out, in]``.
        steps: Numbers that float16 holds exactly, ``[out, in / 32]``.
        minima: Of ``Q4_1``: such numbers too, ``[out, in / 32]``.
    """

    kind: str
    levels: np.ndarray
    steps: np.ndarray
    minima: np.ndarray | None = None

    def __post_init__(self):
        """Refuses what the type cannot hold."""
        rows, columns = self.levels.shape
        least, most = LEVELS.get(self.kind, (0, -1))
        parts = [self.steps, *([] if self.minima is None else [self.minima])]
        shapes = {part.shape for part in parts}
        if (self.kind == "Q4_1") != (self.minima is not None):
            raise ConfigError(f"{self.kind} has minima if and only if it is Q4_1.")
        if columns % BLOCK or shapes != {(rows, columns // BLOCK)}:
            raise ConfigError(f"{self.kind} has one step for each {BLOCK} numbers.")
        if not ((self.levels >= least) & (self.levels <= most)).all():
            raise ConfigError(f"{self.kind} has levels from {least} to {most}.")
        if not all((half(part) == part).all() for part in parts):
            raise ConfigError(f"{self.kind} has steps and minima in float16.")

    def numbers(self) -> np.ndarray:
        """Returns the numbers, float32, ``[out, in]``."""
        rows, columns = self.levels.shape
        levels = self.levels.reshape(rows, -1, BLOCK).astype(np.float32)
        found = self.steps.astype(np.float32)[..., None] * levels
        if self.minima is not None:
            found += self.minima.astype(np.float32)[..., None]
        return found.reshape(rows, columns)

    def pack(self) -> np.ndarray:
        """Returns the bytes of each row, ``[out, bytes]``."""
        rows, _ = self.levels.shape
        parts = [self.steps, *([] if self.minima is None else [self.minima])]
        halves = [
            part.astype("<f2").reshape(rows, -1, 1).view(np.uint8) for part in parts
        ]
        levels = self.levels.reshape(rows, -1, BLOCK)
        if self.kind == "Q8_0":
            bits = levels.astype(np.int8).view(np.uint8)
        else:
            raised = (levels - LEVELS[self.kind][0]).astype(np.uint8)
            bits = raised[..., : BLOCK // 2] | (raised[..., BLOCK // 2 :] << 4)
        return np.concatenate([*halves, bits], axis=-1).reshape(rows, -1)


def half(numbers: np.ndarray) -> np.ndarray:
    """Returns the nearest numbers that float16 holds, float32.

    Examples:
        >>> float(half(np.array(0.1)))
        0.0999755859375
    """
    with np.errstate(over="ignore"):
        return np.asarray(numbers, np.float16).astype(np.float32)
