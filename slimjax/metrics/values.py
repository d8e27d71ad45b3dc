"""Metrics of numbers: correlations and errors of predicted values.

All functions take predictions and values with any leading axes, ``[*batch N]``.
"""

import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray, "*batch N"]
Numbers = Float[np.ndarray, "*batch"]


def pearson(predictions: Values, values: Values) -> Numbers:
    """Returns the linear correlation; NaN where one side has a single value.

    Examples:
        >>> x, y = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])
        >>> round(float(pearson(x, y)), 6)
        0.5
    """
    x, y = (np.asarray(each, np.float64) for each in (predictions, values))
    # A constant has no spread, also where its mean is not exact.
    flat = [np.max(each, axis=-1) == np.min(each, axis=-1) for each in (x, y)]
    x, y = (each - each.mean(-1, keepdims=True) for each in (x, y))
    spread = np.sqrt(np.sum(x * x, axis=-1) * np.sum(y * y, axis=-1))
    known = (spread > 0) & ~flat[0] & ~flat[1]
    return np.divide(
        np.sum(x * y, axis=-1), spread, out=np.full(spread.shape, np.nan), where=known
    )


def spearman(predictions: Values, values: Values) -> Numbers:
    """Returns the correlation of ranks; equal values share their mean rank.

    Examples:
        >>> x = np.array([1.0, 2.0, 30.0])
        >>> round(float(spearman(x, np.exp(x))), 6)
        1.0
    """
    from scipy.stats import rankdata

    return pearson(rankdata(predictions, axis=-1), rankdata(values, axis=-1))


def mean_absolute_error(predictions: Values, values: Values) -> Numbers:
    """Returns the mean distance from the right value, in its unit."""
    return np.asarray(np.mean(np.abs(_differences(predictions, values)), axis=-1))


def root_mean_squared_error(predictions: Values, values: Values) -> Numbers:
    """Returns the root of the mean squared distance, in the unit of the values."""
    squared = np.mean(_differences(predictions, values) ** 2, axis=-1)
    return np.asarray(np.sqrt(squared))


def _differences(predictions: Values, values: Values) -> Values:
    return np.asarray(predictions, np.float64) - np.asarray(values, np.float64)
