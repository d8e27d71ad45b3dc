"""Metrics of rankings: where the right candidate stands."""

import numpy as np
from jaxtyping import Float, Int


def mean_reciprocal_rank(
    ranks: Int[np.ndarray, "*batch N"],
) -> Float[np.ndarray, "*batch"]:
    """Returns the mean of ``1 / rank``; a rank of 0 says that nothing was found.

    Examples:
        >>> float(mean_reciprocal_rank(np.array([1, 2, 0])))
        0.5
    """
    found = np.zeros(np.shape(ranks))
    np.divide(1.0, ranks, out=found, where=np.asarray(ranks) > 0)
    return np.asarray(np.mean(found, axis=-1))


def hit_at(ranks: Int[np.ndarray, "*batch N"], k: int) -> Float[np.ndarray, "*batch"]:
    """Returns the part of queries with the right candidate among the first `k`.

    Examples:
        >>> float(hit_at(np.array([1, 3, 0, 2]), 2))
        0.5
    """
    is_hit = (np.asarray(ranks) > 0) & (np.asarray(ranks) <= k)
    return np.asarray(np.mean(is_hit, axis=-1))
