"""Which elements of a weight share a step between levels, and where the levels lie.

A weight is taken apart into rows, and each row into groups of neighbouring elements:

    group_axis "unit"    a row is what one unit (a head, a hidden unit) holds
    group_axis "input"   a row is what one output reads, so that groups lie along the
                         inputs of the product

In the second case outputs of different ranges never share a step, and errors of one
input are made good by others of its group (`slimjax.compress.rounding`). Levels lie
around zero, or around a middle that each group has of its own:

    Q(w) = middle + step * (code - 2^(bits-1) + 1/2)
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from slimjax.nn.axes import is_filters
from slimjax.nn.bit_axes import bit_axis
from slimjax.nn.gates import is_width
from slimjax.nn.quantize import FULL, from_rows, num_groups, to_rows
from slimjax.trees import AxisNames

UNIT, INPUT = "unit", "input"
GROUP_AXES = (UNIT, INPUT)


@dataclasses.dataclass(frozen=True)
class Grid:
    """How the elements of weights share steps.

    Attributes:
        group_size: Elements of a row that share a step; 0 for the whole row.
        axis: What a row is: see above.
        has_minimum: Whether groups have a middle of their own.
    """

    group_size: int = 0
    axis: str = UNIT
    has_minimum: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether rows are those of units, with levels around zero."""
        return self.axis == UNIT and not self.has_minimum

    @property
    def numbers(self) -> int:
        """Numbers of 16 bits that each group has."""
        return 2 if self.has_minimum else 1

    def num_read(self, axes: AxisNames) -> int:
        """Returns how many axes of a weight are inputs; 0 if rows are those of units.

        Rows of tables are what their units read, so that both kinds of rows agree.

        Examples:
            >>> grid = Grid(64, INPUT)
            >>> grid.num_read(("heads", "head_dim", "embed"))
            2
            >>> grid.num_read(("embed", "mlp")), grid.num_read(("vocab", "embed"))
            (1, 0)
        """
        axis = bit_axis(axes)
        if self.axis == UNIT or axis is None or axes[axis] == "vocab":
            return 0
        writes_one = is_width(axes[-1]) or is_filters(axes[-1])
        return len(axes) - 1 if writes_one else 1

    def num_groups(self, length: int) -> int:
        """Returns how many groups a row of `length` elements has."""
        return num_groups(length, self.group_size)


class Scales(NamedTuple):
    """Where the levels of a weight lie.

    Attributes:
        steps: Between levels, of each group of each row.
        middles: The number around which levels lie; None for zero.
    """

    steps: Float[np.ndarray, "R G"]
    middles: Float[np.ndarray, "R G"] | None = None


def as_grid(grid: Grid | int) -> Grid:
    """Returns a grid; a number is the size of groups of units."""
    return grid if isinstance(grid, Grid) else Grid(grid)


def take_rows(weight: Any, axis: int | None, num_read: int) -> Any:
    """Returns ``[R E]``: the rows of a weight.

    Args:
        weight: The weight.
        axis: That of its units.
        num_read: The number of axes, the first ones, that are inputs; 0 if rows are
            those of units.

    Examples:
        >>> take_rows(np.arange(6).reshape(3, 2), axis=0, num_read=1)
        array([[0, 2, 4],
               [1, 3, 5]])
    """
    if not num_read:
        return to_rows(weight, axis)
    return weight.reshape(math.prod(weight.shape[:num_read]), -1).T


def put_rows(rows: Any, axis: int | None, num_read: int, shape: tuple[int, ...]) -> Any:
    """Returns the weight of a shape that `take_rows` took apart."""
    return from_rows(rows, axis, shape) if not num_read else rows.T.reshape(shape)


def view_rows(
    weight: Shaped[np.ndarray, "..."], axis: int | None, num_read: int
) -> Shaped[np.ndarray, "R ..."]:
    """Returns a weight, laid out row by row, with what `take_rows` takes first.

    Nothing is copied: what is written to it is written to the weight.

    Examples:
        >>> weight = np.zeros((3, 2))
        >>> view_rows(weight, axis=1, num_read=0)[1] = 5
        >>> weight[0].tolist()
        [0.0, 5.0]
    """
    if num_read:
        return weight.reshape(math.prod(weight.shape[:num_read]), -1).T
    return weight[None] if axis is None else np.moveaxis(weight, axis, 0)


def spread_units(
    values: Shaped[np.ndarray, " U"],
    axis: int | None,
    num_read: int,
    shape: Sequence[int],
) -> Shaped[np.ndarray, " R"]:
    """Returns a value, such as bits, of each row of a weight, from those of its units.

    Args:
        values: Those of its units.
        axis: That of its units.
        num_read: See `take_rows`.
        shape: That of the weight.

    Raises:
        ValueError: If units that one row reads have different values.

    Examples:
        >>> spread_units(np.array([4, 8]), 1, num_read=1, shape=(5, 2, 3)).tolist()
        [4, 4, 4, 8, 8, 8]
    """
    if not num_read or axis is None:
        return values
    written = tuple(shape[num_read:])
    if axis >= num_read:
        own = [1] * len(written)
        own[axis - num_read] = len(values)
        return np.broadcast_to(values.reshape(own), written).reshape(-1)
    if len(np.unique(values)) > 1:
        raise ValueError("units that one output reads have different bits")
    first = values[0] if len(values) else FULL
    return np.full(math.prod(written), first, values.dtype)
