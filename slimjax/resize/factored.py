"""Adafactor's moments: from row and column means to all entries, and back.

The second moment V of a weight is kept as its means over the longest axis (rows r) and
over the second longest (columns c), and used as the outer product

    V = r c / mean(r)

To cut or to fold it, V is computed, changed as the weight is, and averaged again for
the new shape. V has rank one along the two axes, and so has what is left of it: the
estimates of the entries that are kept are what they were. A weight whose axes have
become too short to be factored keeps all of V. Where other axes have become the two
longest ones, V is averaged over these, which is no longer exact.

States are `optax.FactoredState`, in which averaged axes stay, with a length of 1.
"""

from typing import Any

import jax
import optax
from jaxtyping import PyTree

from slimjax.nn.axes import numpy_of


def is_factored(row: Any) -> bool:
    """Whether a weight with this `v_row` is factored; if not, it is of shape (1,)."""
    return len(row.shape) > 1


def estimate(row: Any, col: Any, full: Any) -> Any:
    """Returns the second moment of each entry of a weight, in the weight's shape.

    Args:
        row: Its `v_row`.
        col: Its `v_col`.
        full: Its `v`, used where it is not factored.
    """
    if not is_factored(row):
        return full
    mean = row.mean(axis=_averaged(col, row), keepdims=True)
    return row / numpy_of(row).where(mean == 0, 1, mean) * col


def average(moment: Any, like_row: Any, like_col: Any) -> tuple[Any, Any, Any]:
    """Returns `v_row`, `v_col` and `v` of a second moment.

    Args:
        moment: The second moment of each entry.
        like_row: A `v_row` of the shape that the result is to have.
        like_col: A `v_col` likewise.

    Examples:
        >>> import numpy as np
        >>> row, col = np.array([[1.0], [3.0]]), np.array([[2.0, 2.0, 2.0]])
        >>> moment = estimate(row, col, np.zeros(1))
        >>> moment
        array([[1., 1., 1.],
               [3., 3., 3.]])
        >>> [x.tolist() for x in average(moment, row, col)]
        [[[1.0], [3.0]], [[2.0, 2.0, 2.0]], [0.0]]
    """
    nothing = lambda: numpy_of(moment).zeros((1,), moment.dtype)
    if not is_factored(like_row):
        return nothing(), nothing(), moment
    row = moment.mean(axis=_averaged(like_row, like_col), keepdims=True)
    col = moment.mean(axis=_averaged(like_col, like_row), keepdims=True)
    return row, col, nothing()


def unfactor(state: optax.FactoredState) -> PyTree:
    """Returns the second moments of all weights, entry by entry."""
    return jax.tree.map(estimate, state.v_row, state.v_col, state.v)


def refactor(state: optax.FactoredState, moments: PyTree) -> optax.FactoredState:
    """Returns a state with other second moments.

    Args:
        state: Its counts, and the shapes of its means, arrays or not.
        moments: The second moments of all weights, entry by entry.
    """
    structure = jax.tree.structure(state.v)
    leaves = map(jax.tree.leaves, (moments, state.v_row, state.v_col))
    found = [average(*own) for own in zip(*leaves, strict=True)]
    parts = zip(*found, strict=True) if found else ((), (), ())
    return optax.FactoredState(state.count, *map(structure.unflatten, parts))


def _averaged(own: Any, other: Any) -> tuple[int, ...]:
    """Returns the axis over which `own` is a mean, and `other` is not."""
    pairs = enumerate(zip(own.shape, other.shape, strict=True))
    return tuple(i for i, (mine, full) in pairs if mine == 1 and full > 1)
