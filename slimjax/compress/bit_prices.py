"""What rounding each matrix to fewer bits costs, in nats a target."""

import math
from collections.abc import Mapping

import numpy as np

from slimjax.compress.moments import HEAD, STREAM, Moments
from slimjax.compress.removal import shrink
from slimjax.compress.rounding import measure_distortions, rounding_nats
from slimjax.compress.scales import group_squares
from slimjax.compress.walk import source_of
from slimjax.nn.grids import Grid, as_grid, put_rows, take_rows
from slimjax.nn.quantize import bit_axis, is_matrix
from slimjax.objective.inventory import Inventory, Leaf
from slimjax.resize.shrink import ANSWERS
from slimjax.trees import Path


def price_bits(
    weights: Mapping[Path, np.ndarray],
    inventory: Inventory,
    moments: Moments,
    states: tuple[int, ...],
    grid: Grid | int = 0,
) -> dict[Path, np.ndarray]:
    """Returns the nats that each number of bits costs each matrix.

    Args:
        weights: The weights, by path.
        inventory: Knows the names of their axes.
        moments: See `slimjax.compress.moments`.
        states: Numbers of bits, the most first.
        grid: Which elements share a step; a number is the size of groups of units.
    """
    found, grid = {}, as_grid(grid)
    for leaf in inventory.leaves:
        path, axis = leaf.path, bit_axis(leaf.axes)
        if not is_matrix(leaf.axes):
            continue
        moment, slope = sides_of(leaf, moments)
        if moment is None or slope is None:
            continue
        weight = np.asarray(weights[path], np.float32)
        num_read, shape = grid.num_read(leaf.axes), weight.shape
        rows = take_rows(weight, axis, num_read)
        squares = group_squares(rows, grid)
        squares = put_rows(squares, axis, num_read, shape)
        is_table = leaf.axes[0] in ANSWERS
        reads = np.diag(moment)[None] if is_table else np.diag(moment)[:, None]
        counts = np.broadcast_to(reads, _flat(shape, len(moment), is_table))
        counts = take_rows(counts.reshape(shape), axis, num_read)
        distortions = measure_distortions(rows, counts, states, grid)
        if leaf.axes[0] in ANSWERS:
            weight, squares = weight.T, squares.T
        flat = weight.reshape(len(moment), -1), squares.reshape(len(moment), -1)
        found[path] = rounding_nats(
            flat[0], moment, slope, flat[1], states, distortions=distortions
        )
    return found


def _flat(shape: tuple[int, ...], num_read: int, is_table: bool) -> tuple[int, int]:
    """Returns the shape of a weight as a matrix."""
    return shape if is_table else (num_read, math.prod(shape) // num_read)  # pyright: ignore


def sides_of(
    leaf: Leaf, moments: Moments
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the moment of what a matrix reads, and the diagonal of its gradients'.

    None for those that are not rounded, such as tables of positions. An error in a row
    of a table of tokens that scores nothing is an error of the stream: there the moment
    is that of the stream's gradients, of which there may be few, and all rows are taken
    to be read equally often.
    """
    if leaf.path in moments.slopes:
        slope = moments.slopes[leaf.path]
        slope = np.diag(slope) if slope.ndim == 2 else slope
        return moments.inputs.get(source_of(leaf.path, moments.inputs)), slope
    if leaf.axes[0] not in ANSWERS or len(leaf.shape) != 2:
        return None, None
    moment, slope = moments.inputs.get(HEAD), moments.slopes.get(HEAD)
    if not leaf.use.rate:
        moment = moments.slopes.get((*leaf.path[:-2], *STREAM))
        if moment is not None:
            moment = shrink(moment, moments.num_targets)
        slope = np.full(leaf.shape[0], 1 / leaf.shape[0])
    if moment is None or slope is None:
        return None, None
    fits = leaf.shape == (len(slope), len(moment))
    return (moment, slope) if fits else (None, None)
