"""Adafactor's scaling, layer by layer also where layers lie stacked."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from slimjax.mesh.layout import is_stacked

LEAST_FACTORED = 128
"""Least length of the two longest axes of a weight whose moments are factored."""


def scale_by_adafactor(
    least_factored: int = LEAST_FACTORED,
) -> optax.GradientTransformation:
    """Divides gradients by a factored estimate of their root mean square.

    The numbers of each layer are those of `optax.adafactor`: the estimate from row and
    column means, then updates of a root mean square of at most 1, then times the root
    mean square of the weight. What lies stacked is treated as if each layer had arrays
    of its own. The state is one `optax.FactoredState`, but axes that are averaged stay,
    with a length of 1, so that it shows of which axes it holds the means
    (`slimjax.resize.factored`).

    Args:
        least_factored: Weights whose second longest axis is shorter keep the mean
            square of each entry. 2 or more.

    References:
        Shazeer and Stern, "Adafactor", 2018, algorithms 4 and 5.
    """
    moments: Any = optax.scale_by_factored_rms(min_dim_size_to_factor=least_factored)
    rest: Any = optax.chain(
        optax.clip_by_block_rms(1.0), optax.scale_by_param_block_rms()
    )
    axes_of = lambda weight: _longest_axes(weight.shape, least_factored)

    def init_leaf(weight: Any) -> tuple[Array, ...]:
        _, row, col, full = moments.init(weight)
        return *_expand(row, col, axes_of(weight)), full

    def init_fn(params: PyTree) -> optax.FactoredState:
        each = lambda keys, weight: _by_layer(init_leaf, keys)(weight)
        means = jax.tree_util.tree_map_with_path(each, params)
        count = jnp.zeros([], jnp.int32)
        return optax.FactoredState(count, *_parts(means, params, 3))

    def update_fn(updates: PyTree, state: Any, params: PyTree = None) -> Any:
        if params is None:
            raise ValueError("scale_by_adafactor needs params: tx.update(g, s, params)")

        def update_leaf(grad: Any, row: Any, col: Any, full: Any, weight: Any):
            row, col = _squeeze(row, col, axes_of(weight))
            before = optax.FactoredState(state.count, row, col, full)
            grad, (_, row, col, full) = moments.update(grad, before, weight)
            grad, _ = rest.update(grad, rest.init(weight), weight)
            return grad, *_expand(row, col, axes_of(weight)), full

        each = lambda keys, *leaves: _by_layer(update_leaf, keys)(*leaves)
        trees = (updates, state.v_row, state.v_col, state.v, params)
        found = jax.tree_util.tree_map_with_path(each, *trees)
        updates, *means = _parts(found, params, 4)
        count = jnp.asarray(optax.safe_increment(state.count))
        return updates, optax.FactoredState(count, *means)

    return optax.GradientTransformation(init_fn, update_fn)


def _longest_axes(shape: tuple[int, ...], least: int) -> tuple[int, int] | None:
    """Returns the axes that Optax averages over for rows and columns, if it does."""
    order = np.argsort(shape)
    if len(shape) < 2 or shape[order[-2]] < least:
        return None
    return int(order[-1]), int(order[-2])


def _expand(row: Array, col: Array, axes: tuple[int, int] | None) -> tuple:
    if axes is None:
        return row, col
    return jnp.expand_dims(row, axes[0]), jnp.expand_dims(col, axes[1])


def _squeeze(row: Array, col: Array, axes: tuple[int, int] | None) -> tuple:
    return (row, col) if axes is None else (row.squeeze(axes[0]), col.squeeze(axes[1]))


def _by_layer(fn: Any, keys: tuple) -> Any:
    return jax.vmap(fn) if is_stacked(keys) else fn


def _parts(tree: PyTree, like: PyTree, number: int) -> list[PyTree]:
    """Returns trees of the structure of `like` from one whose leaves are tuples."""
    structure = jax.tree.structure(like)
    leaves = structure.flatten_up_to(tree)
    return [structure.unflatten([leaf[i] for leaf in leaves]) for i in range(number)]
