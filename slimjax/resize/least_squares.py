"""Fitting what stays to write what the whole wrote, by least squares.

A weight that writes to the residual stream maps hidden activations h. When units are
removed, those that stay can stand in for them as far as their activations agree:

    W'_K = argmin E |h_K W'_K - h W|^2 = W_K + C_KK^-1 C_KG W_G,    C = E[h^T h]

with K the rows that stay, G those that are removed, and a small ridge on C_KK.

References:
    Hassibi and Stork, "Optimal Brain Surgeon", 1993, equation 5, for one weight.
    Kurtic et al., "ZipLM", 2023, section 3, for units of transformers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, PyTree

from slimjax.nn.axes import to_host
from slimjax.resize.shrink import written_gate
from slimjax.trees import Path, flatten, unflatten

RIDGE = 0.01
"""Added to the diagonal of C_KK, as a part of its mean."""


def refit(
    params: PyTree,
    names: PyTree,
    current: Mapping[Path, Any],
    closed: Mapping[Path, Any],
    moments: PyTree,
) -> PyTree:
    """Returns weights with which the closed model writes nearly what the open one did.

    Args:
        params: Weights; those that are refitted come to the host, one at a time.
        names: Names of their axes.
        current: Gates so far, by path.
        closed: Gates from now on, 0 for what is removed.
        moments: h^T h, ``[I I]``, of the weights to be refitted, by their path; I are
            all axes of the weight but the last.
    """
    axes, leaves = flatten(names), dict(flatten(params))
    for path, moment in flatten(moments).items():
        weight = to_host(leaves[path])
        before, after = (
            np.broadcast_to(
                written_gate(path, weight.shape, axes[path], gates), weight.shape
            ).reshape(-1, weight.shape[-1])
            for gates in (current, closed)
        )
        rows = weight.reshape(before.shape)
        kept = np.flatnonzero(after.any(axis=1))
        fitted = fit_rows(np.asarray(moment), rows * before, kept)
        new = rows.copy()
        np.divide(fitted, after[kept], out=fitted, where=after[kept] > 0)
        new[kept] = fitted  # Channels that go are cut out, whatever stands there.
        leaves[path] = new.reshape(weight.shape)
    return unflatten(leaves)


def fit_rows(
    moment: Float[np.ndarray, "I I"], weight: Float[np.ndarray, "I D"], kept: np.ndarray
) -> Float[np.ndarray, "K D"]:
    """Returns the kept rows of a weight, changed to stand in for the others.

    Examples:
        >>> twins = np.ones((2, 2))  # The second unit always does what the first does.
        >>> fit_rows(twins, np.array([[1.0], [2.0]]), np.array([0])).round(1)
        array([[3.]], dtype=float32)
    """
    gone = np.setdiff1d(np.arange(len(weight)), kept)
    if not len(gone) or not len(kept):
        return weight[kept]
    moment, weight = moment.astype(np.float64), weight.astype(np.float64)
    among = moment[np.ix_(kept, kept)]
    among += RIDGE * np.mean(np.diag(among)) * np.eye(len(kept)) + 1e-30
    share = np.linalg.solve(among, moment[np.ix_(kept, gone)] @ weight[gone])
    return (weight[kept] + share).astype(np.float32)
