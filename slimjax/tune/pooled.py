"""Errors over all folds, and how sure their differences are.

Each document outside the test split is held out in one fold. The error of a point is

    e_k = sum_d nats_kd / sum_d targets_d

over all of them. Two points are measured on the same documents, so the difference of
their errors has the variance of paired differences. With the residuals
``r_kd = nats_kd - e_k * targets_d`` and D documents,

    cov(e_j, e_k) = D / (D - 1) * sum_d r_jd r_kd / (sum_d targets_d)^2,

the variance of a ratio of two sums. A document is not all that varies: the models of
another fold were trained on other documents, in another order. The same formula with
folds in the place of documents sees that, but from few folds. What folds vary beyond
what documents explain is added. So there are two variances, v_1 and v_2, known from D
and from k parts, and half of the 95 % interval is, with Student's quantiles t_1, t_2,

    (t_1 v_1 + t_2 v_2) / (v_1 + v_2) * sqrt(v_1 + v_2).

References:
    Cochran, "Sampling Techniques", 1977, section 6.3 (ratio), 9A.2 (clusters).
    Cochran and Cox, "Experimental Designs", 1957, section 4.14 (two variances).
    Miller, "Adding Error Bars to Evals", 2024, section 4 (paired differences).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Num

LEVEL = 0.95

Matrix = list[list[float]]


@dataclasses.dataclass(frozen=True)
class Errors:
    """The errors of points, pooled over folds.

    Attributes:
        values: Nats per target of each point, e_k.
        by_documents: Their covariances from documents; None with one document.
        by_folds: Their covariances from folds; None with one fold.
        num_documents: Documents held out.
        num_folds: Folds.
    """

    values: tuple[float, ...]
    by_documents: Matrix | None
    by_folds: Matrix | None
    num_documents: int
    num_folds: int

    def standard_error(self, i: int, j: int | None = None) -> float | None:
        """Returns that of an error, or of the difference of two; None if unknown."""
        parts = self._variances(i, j)
        return math.sqrt(sum(variance for variance, _ in parts)) if parts else None

    def half_width(self, i: int, j: int | None = None) -> float | None:
        """Returns half of the 95 % interval of an error, or of a difference."""
        from scipy.special import stdtrit

        parts = self._variances(i, j)
        total = sum(variance for variance, _ in parts)
        if not total:
            return 0.0 if parts else None
        quantile = sum(
            variance * float(stdtrit(num - 1, (1 + LEVEL) / 2))
            for variance, num in parts
        )
        return quantile / total * math.sqrt(total)

    def _variances(self, i: int, j: int | None) -> list[tuple[float, int]]:
        """Returns variances that add up, and the number of parts that each is from.

        The first is that from documents, the second what folds vary beyond it.
        """
        matrices = (self.by_documents, self.by_folds)
        numbers = (self.num_documents, self.num_folds)
        found: list[tuple[float, int]] = []
        for matrix, num in zip(matrices, numbers, strict=True):
            if matrix is not None:
                known = sum(variance for variance, _ in found)
                found.append((max(_variance(matrix, i, j) - known, 0.0), num))
        return found


def pool(
    nats: Float[np.ndarray, "D K"],
    targets: Num[np.ndarray, " D"],
    folds: Int[np.ndarray, " D"],
) -> Errors:
    """Returns the errors of K points on D documents.

    Args:
        nats: Loss of each document under each point of its fold.
        targets: Targets of each document.
        folds: Fold of each document.

    Examples:
        >>> nats = np.array([[2.0, 3.0], [4.0, 5.0], [1.0, 2.0], [5.0, 6.0]])
        >>> found = pool(nats, np.full(4, 2), np.array([0, 0, 1, 1]))
        >>> found.values
        (1.5, 2.0)
        >>> round(found.standard_error(0), 4), found.standard_error(0, 1)
        (0.4564, 0.0)
    """
    total = float(targets.sum())
    values = nats.sum(axis=0) / total
    residuals = nats - targets[:, None] * values
    numbers = np.unique(folds)
    by_fold = np.stack([residuals[folds == fold].sum(axis=0) for fold in numbers])
    return Errors(
        values=tuple(float(value) for value in values),
        by_documents=_covariance(residuals, total),
        by_folds=_covariance(by_fold, total),
        num_documents=len(targets),
        num_folds=len(numbers),
    )


def _covariance(residuals: Float[np.ndarray, "N K"], total: float) -> Matrix | None:
    num = len(residuals)
    if num < 2:
        return None
    return (num / (num - 1) * residuals.T @ residuals / total**2).tolist()


def _variance(matrix: Sequence[Sequence[float]], i: int, j: int | None) -> float:
    if j is None:
        return matrix[i][i]
    return matrix[i][i] + matrix[j][j] - 2 * matrix[i][j]
