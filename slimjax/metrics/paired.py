"""Two models on the same examples: is one really better?"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from slimjax.metrics.bootstrap import (
    NUM_RESAMPLES,
    Columns,
    Resamples,
    Statistic,
    draw,
    find_ends,
)


class Difference(NamedTuple):
    """The second model minus the first one.

    Attributes:
        value: Difference of the metric.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Probability of a difference at least as large, in either direction, if
            neither model were better.
    """

    value: float
    low: float
    high: float
    p: float


class Disagreement(NamedTuple):
    """McNemar's exact test of two models' right answers.

    Attributes:
        only_first: Examples that the first model alone has right.
        only_second: Examples that the second model alone has right.
        p: Probability of counts at least as uneven if both were equally good.
    """

    only_first: int
    only_second: int
    p: float


def compare_metric(
    of: Statistic,
    first: Columns,
    second: Columns,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Returns the difference of a metric by a paired bootstrap.

    The same rows are drawn for both models, so what makes an example hard cancels out.

    Args:
        of: The metric, a function of columns.
        first: Columns of the first model.
        second: Columns of the second one, rows in the same order.
        num_resamples: How many resamples are drawn.
        seed: Seed of the draws.

    Raises:
        ValueError: If they have different numbers of rows.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 16.
        Koehn, "Statistical Significance Tests for Machine Translation Evaluation",
        2004.
    """
    sizes = {len(array) for array in (*first.values(), *second.values())}
    if len(sizes) != 1:
        raise ValueError(f"arrays of one length are needed, got lengths {sizes}")
    parts = []
    for resamples in draw(first, num_resamples=num_resamples, seed=seed):
        other = Resamples(second, resamples.drawn)
        parts.append(np.asarray(of(other) - of(resamples), np.float64))
    value = float(of(second) - of(first))
    if not parts:
        return Difference(value, np.nan, np.nan, np.nan)
    changes = np.concatenate(parts)
    low, high = find_ends(changes)
    return Difference(value, float(low), float(high), _p_of(changes))


def _p_of(changes: Float[np.ndarray, " S"]) -> float:
    """Returns the two-sided probability of a difference in resamples.

    Resamples in which the metric means nothing, such as a curve of one class, are not
    counted; NaN if there are no others.
    """
    known = changes[~np.isnan(changes)]
    if not len(known):
        return math.nan
    tails = [1 + np.sum(known <= 0), 1 + np.sum(known >= 0)]
    return min(1.0, 2 * float(min(tails)) / (1 + len(known)))


def mcnemar(
    first: Bool[np.ndarray, " N"], second: Bool[np.ndarray, " N"]
) -> Disagreement:
    """Returns McNemar's test, by the exact binomial distribution, two-sided.

    Args:
        first: Which examples the first model has right.
        second: Which the second one has right.

    References:
        McNemar, "Note on the sampling error of the difference between correlated
        proportions or percentages", 1947.

    Examples:
        >>> first, second = np.zeros(8, bool), np.arange(8) < 6
        >>> mcnemar(first, second)
        Disagreement(only_first=0, only_second=6, p=0.03125)
    """
    from scipy.special import bdtr

    only_first = int(np.sum(first & ~second))
    only_second = int(np.sum(second & ~first))
    least, num = min(only_first, only_second), only_first + only_second
    p = min(1.0, 2 * float(bdtr(least, num, 0.5))) if num else 1.0
    return Disagreement(only_first, only_second, p)
