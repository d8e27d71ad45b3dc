"""Metrics of label ids in plain NumPy: accuracy, F1, confusion, bootstrap intervals.

All functions take labels and predictions with any leading axes, ``[*batch N]``, and
return one value for each entry of ``batch``. So `bootstrap` can score a thousand
resamples in a few calls.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

NUM_RESAMPLES, LEVEL = 1_000, 0.95
MAX_DRAWN = 1 << 22
"""Examples that are drawn at once; more resamples are scored in several calls."""


class ClassScores(NamedTuple):
    """Scores of each class, between 0 and 1; 0 where a denominator is 0.

    Attributes:
        precision: Of the examples predicted as the class, the part that has its label.
        recall: Of the examples with the label, the part predicted as the class.
        f1: Harmonic mean of the two.
        num_labels: Examples with the label.
        num_predictions: Examples predicted as the class.
    """

    precision: Float[np.ndarray, "*batch C"]
    recall: Float[np.ndarray, "*batch C"]
    f1: Float[np.ndarray, "*batch C"]
    num_labels: Int[np.ndarray, "*batch C"]
    num_predictions: Int[np.ndarray, "*batch C"]


class Estimate(NamedTuple):
    """A statistic of a sample, and the interval in which the true value lies."""

    value: float
    low: float
    high: float


def confusion_matrix(
    labels: Int[np.ndarray, "*batch N"],
    predictions: Int[np.ndarray, "*batch N"],
    num_classes: int,
) -> Int[np.ndarray, "*batch C C"]:
    """Counts examples by label (row) and by prediction (column).

    Raises:
        ValueError: If the shapes differ, or an id is not in ``[0, num_classes)``.

    Examples:
        >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
        array([[1, 1],
               [0, 1]])
    """
    _check_ids(labels, predictions, num_classes)
    pairs = labels.astype(np.int64) * num_classes + predictions
    counts = _count(pairs, num_classes**2)
    return counts.reshape(*counts.shape[:-1], num_classes, num_classes)


def accuracy(
    labels: Int[np.ndarray, "*batch N"], predictions: Int[np.ndarray, "*batch N"]
) -> Float[np.ndarray, "*batch"]:
    """Returns the part of the predictions that are right; NaN without examples.

    Examples:
        >>> float(accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])))
        0.75
    """
    _check_shapes(labels, predictions)
    right = np.count_nonzero(labels == predictions, axis=-1)
    return _divide(right, labels.shape[-1], empty=np.nan)


def score_classes(
    labels: Int[np.ndarray, "*batch N"],
    predictions: Int[np.ndarray, "*batch N"],
    num_classes: int,
) -> ClassScores:
    """Returns precision, recall and F1 of each class.

    Raises:
        ValueError: If the shapes differ, or an id is not in ``[0, num_classes)``.
    """
    _check_ids(labels, predictions, num_classes)
    num_labels, num_predictions = (
        _count(ids, num_classes) for ids in (labels, predictions)
    )
    # Wrong predictions go to one more class, which is then left out.
    found = np.where(labels == predictions, labels, num_classes)
    right = _count(found, num_classes + 1)[..., :num_classes]
    return ClassScores(
        precision=_divide(right, num_predictions),
        recall=_divide(right, num_labels),
        f1=_divide(2 * right, num_labels + num_predictions),
        num_labels=num_labels,
        num_predictions=num_predictions,
    )


def macro_f1(
    labels: Int[np.ndarray, "*batch N"],
    predictions: Int[np.ndarray, "*batch N"],
    num_classes: int,
) -> Float[np.ndarray, "*batch"]:
    """Returns the mean F1 of the classes, each with the same weight.

    A class counts if it occurs among the labels or the predictions, as in scikit-learn.
    NaN without examples.

    Raises:
        ValueError: If the shapes differ, or an id is not in ``[0, num_classes)``.

    Examples:
        >>> float(macro_f1(np.array([0, 0, 1]), np.array([0, 0, 0]), 3))  # 0.8, 0.
        0.4
    """
    scores = score_classes(labels, predictions, num_classes)
    occurs = (scores.num_labels + scores.num_predictions) > 0
    return _divide(scores.f1.sum(-1), occurs.sum(-1), empty=np.nan)


def bootstrap(
    statistic: Callable[..., Float[np.ndarray, " R"]],
    *examples: Shaped[np.ndarray, "N ..."],
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Returns a statistic of examples with its bootstrap interval (percentiles).

    Examples are drawn with replacement, whole: the arrays are resampled together. The
    same seed gives the same interval on every machine.

    Args:
        statistic: Gets each array as ``[R N ...]``, R resamples of the N examples, and
            returns a value for each resample, ``[R]``.
        *examples: Arrays with one entry per example, such as labels and predictions.
        num_resamples: How many resamples are drawn.
        level: Probability that the interval holds the true value.
        seed: Seed of the draws.

    Returns:
        The statistic of all examples and the interval. All NaN without examples.

    Raises:
        ValueError: If there is no array, or their first axes differ.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Examples:
        >>> right = np.arange(100) < 80
        >>> found = bootstrap(lambda right: right.mean(-1), right)
        >>> found.value, round(found.low, 2), round(found.high, 2)
        (0.8, 0.72, 0.88)
    """
    sizes = {len(array) for array in examples}
    if len(sizes) != 1:
        raise ValueError(f"arrays of one length are needed, got lengths {sizes}")
    (num,) = sizes
    if num == 0:
        return Estimate(np.nan, np.nan, np.nan)
    rng, values, left = np.random.default_rng(seed), [], num_resamples
    while left > 0:
        size = min(left, max(MAX_DRAWN // num, 1))
        drawn = rng.integers(num, size=(size, num))
        values.append(statistic(*(array[drawn] for array in examples)))
        left -= size
    ends = (1 - level) / 2, (1 + level) / 2
    low, high = np.nanquantile(np.concatenate(values), ends)
    whole = statistic(*(array[None] for array in examples))
    return Estimate(float(whole[0]), float(low), float(high))


def _check_shapes(labels: np.ndarray, predictions: np.ndarray) -> None:
    if labels.shape != predictions.shape:
        shapes = f"{labels.shape} and {predictions.shape}"
        raise ValueError(f"labels and predictions differ in shape: {shapes}")


def _check_ids(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> None:
    _check_shapes(labels, predictions)
    for name, ids in (("labels", labels), ("predictions", predictions)):
        if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
            ends = f"{ids.min()} to {ids.max()}"
            raise ValueError(f"{name} are {ends}, expected 0 to {num_classes - 1}")


def _count(
    ids: Int[np.ndarray, "*batch N"], num_ids: int
) -> Int[np.ndarray, "*batch num_ids"]:
    """Counts each id of the last axis."""
    batch = ids.shape[:-1]
    rows = np.arange(np.prod(batch, dtype=int)).reshape(*batch, 1)
    counts = np.bincount((rows * num_ids + ids).ravel(), minlength=rows.size * num_ids)
    return counts.reshape(*batch, num_ids)


def _divide(part, whole, *, empty: float = 0.0) -> np.ndarray:
    """Returns ``part / whole``, and `empty` where the denominator is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), whole)
    return np.divide(part, whole, out=np.full(part.shape, empty), where=whole != 0)
