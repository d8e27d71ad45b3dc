"""Bootstrap intervals: what a metric would be on other samples of the same kind.

A metric is a function of columns, arrays with one entry per row of the sample. It is
called with many resamples at once, as `Resamples`. A metric of sums uses
`total`; a metric that sorts rows uses `weighted`, so that it sorts only once.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

NUM_RESAMPLES, LEVEL = 1_000, 0.95
MAX_DRAWN = 1 << 20
"""Rows that are drawn at once; more resamples are scored in several calls.

Arrays of more of them leave the caches of a CPU: four times as many took twice as long.
"""

Columns = Mapping[str, np.ndarray]
"""Arrays by name, one entry per row, ``[R ...]``."""

Statistic = Callable[[Columns], Any]
"""From columns, or from `Resamples` of them, to values ``[*batch ...]``."""


class Estimate(NamedTuple):
    """A statistic of a sample, and the interval in which the true value lies."""

    value: float
    low: float
    high: float


class Estimates(NamedTuple):
    """Statistics of a sample and their intervals, ``[...]`` each."""

    value: Float[np.ndarray, "..."]
    low: Float[np.ndarray, "..."]
    high: Float[np.ndarray, "..."]


class Resamples(Mapping[str, np.ndarray]):
    """Columns of rows that were drawn with replacement, ``[B R ...]``.

    A column is gathered when it is asked for.

    Attributes:
        rows: The columns of the sample, ``[R ...]``.
        drawn: Numbers of rows, one line per resample.
    """

    def __init__(self, rows: Columns, drawn: Int[np.ndarray, "B R"]):
        """Keeps the columns; none is gathered."""
        self.rows, self.drawn = rows, drawn

    def __getitem__(self, name: str) -> Shaped[np.ndarray, "B R ..."]:
        """Returns a column of all resamples."""
        return np.asarray(self.rows[name])[self.drawn]

    def __iter__(self) -> Iterator[str]:
        """Yields the names of the columns."""
        return iter(self.rows)

    def __len__(self) -> int:
        """Returns the number of columns."""
        return len(self.rows)

    @cached_property
    def weights(self) -> Float[np.ndarray, "B R"]:
        """How often each row is in each resample."""
        num, size = len(self.drawn), len(next(iter(self.rows.values()), ()))
        cells = self.drawn + size * np.arange(num)[:, None]
        counts = np.bincount(cells.ravel(), minlength=num * size)
        return counts.reshape(num, size).astype(np.float64)


def weighted(columns: Columns) -> tuple[Columns, Float[np.ndarray, "*batch R"]]:
    """Returns the rows of the sample, and how often each one counts.

    Args:
        columns: Columns ``[R ...]``, of which each row counts once, or `Resamples`.
    """
    if isinstance(columns, Resamples):
        return columns.rows, columns.weights
    num = len(next(iter(columns.values()), ()))
    return columns, np.ones(num)


def total(columns: Columns, name: str) -> Float[np.ndarray, "..."]:
    """Returns the sum of a column over the rows, in float64.

    Examples:
        >>> float(total({"hits": np.array([1, 0, 2])}, "hits"))
        3.0
    """
    rows, weights = weighted(columns)
    return np.asarray(weights @ np.asarray(rows[name], np.float64))


def estimate(
    statistics: Mapping[str, Statistic],
    columns: Columns,
    *,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Estimates]:
    """Returns statistics of a sample with their bootstrap intervals (percentiles).

    Rows are drawn with replacement, whole, and each statistic gets the same resamples.
    The same seed gives the same intervals on every machine.

    Args:
        statistics: Functions by name. Each may return several values of a sample.
        columns: The sample, ``[R ...]``. All NaN without rows.
        num_resamples: How many resamples are drawn.
        level: Probability that the interval holds the true value.
        seed: Seed of the draws.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    whole = {name: np.asarray(of(columns)) for name, of in statistics.items()}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    for resamples in draw(columns, num_resamples=num_resamples, seed=seed):
        for name, of in statistics.items():
            parts[name].append(np.asarray(of(resamples), np.float64))
    return {
        name: Estimates(value, *find_ends(np.concatenate(parts[name]), level))
        if parts[name]
        else Estimates(*[np.full(value.shape, np.nan)] * 3)
        for name, value in whole.items()
    }


def draw(
    columns: Columns, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Iterator[Resamples]:
    """Yields resamples of the rows, as many at once as memory should hold.

    Raises:
        ValueError: If there is no column, or they differ in length.
    """
    sizes = {len(array) for array in columns.values()}
    if len(sizes) != 1:
        raise ValueError(f"arrays of one length are needed, got lengths {sizes}")
    (num,) = sizes
    rng, left = np.random.default_rng(seed), num_resamples if num else 0
    while left > 0:
        size = min(left, max(MAX_DRAWN // num, 1))
        yield Resamples(columns, rng.integers(num, size=(size, num)))
        left -= size


def find_ends(
    values: Float[np.ndarray, "B ..."], level: float = LEVEL
) -> Float[np.ndarray, "2 ..."]:
    """Returns the percentiles between which the part `level` of the values lies.

    Resamples without a value (NaN) are left out; NaN where none has one.
    """
    known = ~np.all(np.isnan(values), axis=0)
    ends = np.full((2, *values.shape[1:]), np.nan)
    quantiles = (1 - level) / 2, (1 + level) / 2
    ends[:, known] = np.nanquantile(values[:, known], quantiles, axis=0)
    return ends


def bootstrap(
    statistic: Callable[..., Float[np.ndarray, " B"]],
    *examples: Shaped[np.ndarray, "N ..."],
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Returns one statistic of arrays with its interval; see `estimate`.

    Args:
        statistic: Gets each array as ``[B N ...]``, B resamples of the N examples, and
            returns a value for each resample, ``[B]``.
        *examples: Arrays with one entry per example, such as labels and predictions.
        num_resamples: How many resamples are drawn.
        level: Probability that the interval holds the true value.
        seed: Seed of the draws.

    Raises:
        ValueError: If there is no array, or their first axes differ.

    Examples:
        >>> right = np.arange(100) < 80
        >>> found = bootstrap(lambda right: right.mean(-1), right)
        >>> found.value, round(found.low, 2), round(found.high, 2)
        (0.8, 0.72, 0.88)
    """
    columns = {str(place): array for place, array in enumerate(examples)}
    sizes = {len(array) for array in examples}
    if sizes == {0}:
        return Estimate(np.nan, np.nan, np.nan)
    of = lambda columns: statistic(*(columns[name] for name in columns))
    settings = {"num_resamples": num_resamples, "level": level, "seed": seed}
    if len(sizes) != 1:
        raise ValueError(f"arrays of one length are needed, got lengths {sizes}")
    found = estimate({"": of}, columns, **settings)[""]
    return Estimate(*map(float, found))
