"""Weights on their levels: bits and steps of each, and the rounding itself."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from slimjax.compress.rounding import DAMPING, fit_steps, round_columns
from slimjax.nn.packing import key_in
from slimjax.nn.quantize import FULL, bit_axis, from_rows, spread, to_rows
from slimjax.objective.inventory import Bits
from slimjax.trees import AxisNames, Path

COLUMNS = 16_384
"""Most outputs of a table that are rounded at a time."""


class Levels:
    """Rounds weights by second order, and remembers the steps between their levels.

    Attributes:
        bits: Bits of the units of each bit key; units of one key have equal bits.
        group_size: Elements that share a step; 0 for all that a unit has of a weight.
        steps: Steps ``[U G]`` of the weights that were rounded, by path.
    """

    def __init__(
        self,
        axes: Mapping[Path, AxisNames],
        bits: Bits,
        group_size: int = 0,
        damping: float = DAMPING,
    ):
        """Rounds nothing yet.

        Args:
            axes: Names of the axes of all weights.
            bits: See the attribute.
            group_size: See the attribute.
            damping: See `round_columns`.
        """
        self.axes, self.bits, self.group_size = axes, bits, group_size
        self.damping = damping
        self.steps: dict[Path, np.ndarray] = {}

    def bits_of(self, path: Path) -> int:
        """Returns the bits of a weight."""
        own = self.bits[key_in(self.bits, path, self.axes[path])]
        return int(own[0]) if len(own) else FULL

    def round(
        self, path: Path, weight: np.ndarray, moment: Float[np.ndarray, "I I"]
    ) -> np.ndarray:
        """Returns a weight on its levels; one of `FULL` bits as it is.

        Args:
            path: Its path.
            weight: First the axes that it reads, then those that it writes.
            moment: Of what it reads.
        """
        bits, axis = self.bits_of(path), bit_axis(self.axes[path])
        if bits >= FULL:
            return weight
        weight = np.asarray(weight, np.float32)
        flat = weight.reshape(len(moment), -1)
        counts = np.broadcast_to(np.diag(moment)[:, None], flat.shape)
        full = self._fit(path, weight, counts.reshape(weight.shape), axis)
        full = full.reshape(flat.shape)
        rounded = round_columns(flat, moment, full, bits, self.damping)
        return rounded.reshape(weight.shape)

    def round_table(
        self,
        path: Path,
        table: Float[np.ndarray, "V D"],
        moment: Float[np.ndarray, "D D"],
    ) -> Float[np.ndarray, "V D"]:
        """Returns a table on its levels, whose rows score what has this moment."""
        bits = self.bits_of(path)
        if bits >= FULL:
            return table
        table = np.asarray(table, np.float32)
        counts = np.broadcast_to(np.diag(moment)[None], table.shape)
        full, rounded = self._fit(path, table, counts, 0), np.empty_like(table)
        for start in range(0, len(table), COLUMNS):
            part = slice(start, start + COLUMNS)
            own = table[part].T, moment, full[part].T, bits, self.damping
            rounded[part] = round_columns(*own).T
        return rounded

    def _fit(
        self, path: Path, weight: np.ndarray, counts: np.ndarray, axis: int | None
    ) -> np.ndarray:
        """Fits the steps of a weight, and returns that of each element."""
        rows = to_rows(weight, axis)
        steps = fit_steps(
            rows, to_rows(counts, axis), self.bits_of(path), self.group_size
        )
        self.steps[path] = steps
        each = np.broadcast_to(
            spread(steps, rows.shape[1], self.group_size), rows.shape
        )
        return from_rows(each, axis, weight.shape)
