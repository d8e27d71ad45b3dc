"""Means over seeds, and how sure they are."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and the interval in which the true one lies, 95 times out of 100.

    Attributes:
        mean: Mean of the values.
        sd: Standard deviation of one value, n - 1 in the denominator; None if n is 1.
        low: Lower end, None if n is 1.
        high: Upper end.
        num: Number of values, n.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    num: int


def take_mean(values: Sequence[float]) -> Interval | None:
    """Returns the mean with Student's interval, ``mean +- t sd / sqrt(n)``.

    ``t`` is the 97.5 % quantile of Student's distribution with n - 1 degrees of
    freedom: 12.7 for two values, 4.30 for three, 2.78 for five. It holds for values
    that are normal and independent, as errors of several seeds roughly are.

    References:
        Student, "The probable error of a mean", Biometrika 6, 1908.

    Examples:
        >>> found = take_mean([1.0, 2.0, 3.0])
        >>> found.mean, found.sd, round(found.high, 3)  # 2 + 4.303 / sqrt(3)
        (2.0, 1.0, 4.484)
    """
    if not values:
        return None
    mean, num = statistics.fmean(values), len(values)
    if num == 1:
        return Interval(mean, None, None, None, 1)
    from scipy.special import stdtrit

    sd = statistics.stdev(values)
    half = float(stdtrit(num - 1, (1 + LEVEL) / 2)) * sd / math.sqrt(num)
    return Interval(mean, sd, mean - half, mean + half, num)
