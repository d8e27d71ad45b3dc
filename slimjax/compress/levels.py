"""Weights on their levels: bits and scales of each, and the rounding itself."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from slimjax.compress.rounding import round_columns
from slimjax.compress.scales import fit_scales
from slimjax.nn.grids import Grid, Scales, as_grid, put_rows, take_rows
from slimjax.nn.packing import key_in
from slimjax.nn.quantize import FULL, bit_axis, spread
from slimjax.objective.inventory import Bits
from slimjax.trees import AxisNames, Path

COLUMNS = 16_384
"""Most outputs of a table that are rounded at a time."""

LEAST_STEP = np.float32(1e-12)
"""Step of what is not there any more, so that it stays 0."""

Kept = Callable[[Path, tuple[int, ...]], Sequence[np.ndarray | None]]
"""From the path and shape of a weight to what stays along each axis; None for all."""


class Levels:
    """Rounds weights by second order, and remembers where their levels lie.

    Attributes:
        bits: Bits of the units of each bit key; units of one key have equal bits.
        grid: Which elements share a step.
        scales: Those of the weights that were rounded, by path, of what stays of them.
    """

    def __init__(
        self,
        axes: Mapping[Path, AxisNames],
        bits: Bits,
        grid: Grid | int = 0,
        kept: Kept = lambda _, shape: [None] * len(shape),
    ):
        """Rounds nothing yet.

        Args:
            axes: Names of the axes of all weights.
            bits: See the attribute.
            grid: See the attribute; a number is the size of groups of units.
            kept: What stays of each weight: groups are made of that.
        """
        self.axes, self.bits, self.grid = axes, bits, as_grid(grid)
        self.kept = kept
        self.scales: dict[Path, Scales] = {}

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
        bits = self.bits_of(path)
        if bits >= FULL:
            return weight
        weight = np.asarray(weight, np.float32)
        flat = weight.reshape(len(moment), -1)
        counts = np.broadcast_to(np.diag(moment)[:, None], flat.shape)
        found = self._fit(path, weight, counts.reshape(weight.shape))
        steps, middles = (own.reshape(flat.shape) for own in found)
        rounded = round_columns(flat - middles, moment, steps, bits)
        return (rounded + middles).reshape(weight.shape)

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
        (steps, middles), rounded = self._fit(path, table, counts), np.empty_like(table)
        for start in range(0, len(table), COLUMNS):
            part = slice(start, start + COLUMNS)
            own = (table[part] - middles[part]).T
            rows = round_columns(own, moment, steps[part].T, bits)
            rounded[part] = rows.T + middles[part]
        return rounded

    def _fit(
        self, path: Path, weight: np.ndarray, counts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fits the levels of a weight; returns step and middle of each element."""
        indices = self.kept(path, weight.shape)
        at = np.ix_(
            *(
                np.arange(length) if own is None else own
                for own, length in zip(indices, weight.shape, strict=True)
            )
        )
        axes = self.axes[path]
        axis, num_read = bit_axis(axes), self.grid.num_read(axes)
        rows, errors = (take_rows(x[at], axis, num_read) for x in (weight, counts))
        scales = fit_scales(rows, errors, self.bits_of(path), self.grid)
        self.scales[path] = scales
        found = []
        for own, other in ((scales.steps, LEAST_STEP), (scales.middles, np.float32(0))):
            each = np.full(weight.shape, other, np.float32)
            if own is not None:
                full = spread(own, rows.shape[1], self.grid.group_size)
                full = np.broadcast_to(full, rows.shape)
                each[at] = put_rows(full, axis, num_read, each[at].shape)
            found.append(each)
        return found[0], found[1]
