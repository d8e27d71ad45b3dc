"""Dropout of activations and of weights, as pure functions of a key.

Nothing is drawn from a hidden stream of random numbers: a function that drops takes a
key, and no key means no dropout. So layers stay functions that can be traced once and
scanned. How keys are made, from the root of a step to the last site:

    key of the step       fold_in(key of the run, step)            train
    key of a layer        fold_in(key of the tower, layer number)  models; may be traced
    key of a site         fold_name(key of the layer, "mlp")       where it is dropped
    key of weights        fold_name(key of the layer, "mlp/up")    `drop_connect`

At evaluation and at seams no key is given.

References:
    Srivastava et al., "Dropout", 2014, section 4.
    Wan et al., "Regularization of Neural Networks using DropConnect", 2013, section 3.
"""

import zlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from slimjax.nn.axes import is_filters
from slimjax.nn.bit_axes import is_matrix
from slimjax.nn.random_bits import is_kept
from slimjax.trees import AxisNames, Path, flatten, unflatten


def fold_name(key: Array | None, name: str) -> Array | None:
    """Returns the key of a site that has this name; None of None.

    Examples:
        >>> fold_name(None, "mlp") is None
        True
    """
    return None if key is None else jax.random.fold_in(key, zlib.crc32(name.encode()))


def dropout(
    x: Float[Array, "*shape"], rate: float, key: Array | None
) -> Float[Array, "*shape"]:
    """Returns `x` with a share of its numbers at 0 and the others scaled up.

    The mean stays the same.

    Args:
        x: Activations.
        rate: The share, in [0, 1).
        key: Key of this call and site; None returns `x` itself.

    Raises:
        ValueError: If the rate is not in [0, 1).
    """
    _check(rate)
    if key is None or not rate:
        return x
    kept = is_kept(key, rate, x.shape)
    return jnp.where(kept, x / (1.0 - rate), 0.0)


def drop_connect(
    weights: PyTree,
    names: PyTree,
    rates: Mapping[str, float],
    key: Array | None,
    *,
    whole: bool = False,
) -> PyTree:
    """Returns weights with a share of them at 0 and the others scaled up.

    Of a matrix with an axis that has a rate, single weights are dropped, each for
    itself; with two such axes, those that either rate drops. With `whole`, all that a
    unit of the axis holds of the matrix is dropped together. Biases, scales of norms
    and other vectors are left alone.

    Args:
        weights: Weights by nested names, such as those of one layer.
        names: Names of their axes.
        rates: Shares by name of an axis, such as ``{"mlp": 0.1}``, in [0, 1).
        key: Key of this call; None returns `weights` itself. Each weight folds its own
            path into it.
        whole: Whether a unit is dropped as a whole.

    Raises:
        ValueError: If a rate is not in [0, 1).
    """
    for rate in rates.values():
        _check(rate)
    if key is None or not any(rates.values()):
        return weights
    axes = flatten(names)
    dropped = {
        path: _drop_weight(path, weight, axes[path], rates, key, whole=whole)
        for path, weight in flatten(weights).items()
    }
    return unflatten(dropped)


def _drop_weight(
    path: Path,
    weight: Array,
    axes: AxisNames,
    rates: Mapping[str, float],
    key: Array,
    *,
    whole: bool,
) -> Array:
    if not is_matrix(axes):
        return weight
    key = jax.random.fold_in(key, zlib.crc32("/".join(path).encode()))
    for axis, name in enumerate(axes):
        rate = rates.get("filters" if is_filters(name) else name, 0.0)
        if rate:
            units = [n if i == axis else 1 for i, n in enumerate(weight.shape)]
            own = jax.random.fold_in(key, axis)
            shape = tuple(units) if whole else weight.shape
            kept = is_kept(own, rate, shape)
            weight = jnp.where(kept, weight / (1.0 - rate), 0.0)
    return weight


def _check(rate: float) -> None:
    if not 0 <= rate < 1:
        raise ValueError(f"rate={rate} must be at least 0 and less than 1.")
