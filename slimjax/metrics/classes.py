"""Metrics of classes in plain NumPy: accuracy, F1, Matthews, confusion.

All functions take labels and predictions with any leading axes, ``[*batch N]``, and
return one value for each entry of ``batch``. So a thousand resamples are scored in a
few calls.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

YesNo = Bool[np.ndarray, "*batch N C"] | Int[np.ndarray, "*batch N C"]
"""Whether an example has a class; as numbers, 1 or 0."""


class ClassScores(NamedTuple):
    """Scores of each class, between 0 and 1; 0 where a denominator is 0.

    Attributes:
        precision: Of the examples predicted as the class, the part that has its label.
        recall: Of the examples with the label, the part predicted as the class.
        f1: Harmonic mean of the two.
        num_labels: Examples with the label.
        num_predictions: Examples predicted as the class.
        num_right: Examples with the label that are predicted as the class.
    """

    precision: Float[np.ndarray, "*batch C"]
    recall: Float[np.ndarray, "*batch C"]
    f1: Float[np.ndarray, "*batch C"]
    num_labels: Int[np.ndarray, "*batch C"]
    num_predictions: Int[np.ndarray, "*batch C"]
    num_right: Int[np.ndarray, "*batch C"]


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
    return divide(right, labels.shape[-1], empty=np.nan)


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
    return _score(num_labels, num_predictions, right)


def macro(scores: ClassScores) -> ClassScores:
    """Returns the mean precision, recall and F1 of the classes that occur.

    A class counts if it occurs among the labels or the predictions, as in scikit-learn.
    The means are NaN without examples.
    """
    occurs = np.sum(scores.num_labels + scores.num_predictions > 0, axis=-1)
    means = [divide(each.sum(-1), occurs, empty=np.nan) for each in scores[:3]]
    return ClassScores(*means, *(count.sum(-1) for count in scores[3:]))


def macro_of_all(scores: ClassScores) -> ClassScores:
    """Returns the mean precision, recall and F1 of all classes.

    A class without labels and predictions counts as 0, as in scikit-learn where an
    example may have several classes.

    Examples:
        >>> labels = np.array([[1, 0], [1, 0]])
        >>> float(macro_of_all(score_answers(labels, labels)).f1)
        0.5
    """
    means = [each.mean(-1) for each in scores[:3]]
    return ClassScores(*means, *(count.sum(-1) for count in scores[3:]))


def weighted_f1(scores: ClassScores) -> Float[np.ndarray, "*batch"]:
    """Returns the mean F1 of the classes, each weighted by its number of labels."""
    total = scores.num_labels.sum(-1)
    return divide(np.sum(scores.f1 * scores.num_labels, -1), total, empty=np.nan)


def matthews(scores: ClassScores) -> Float[np.ndarray, "*batch"]:
    """Returns Matthews' correlation of labels and predictions, between -1 and 1.

    It is 0 where all labels or all predictions are of one class.

    References:
        Gorodkin, "Comparing two K-category assignments by a K-category correlation
        coefficient", 2004.

    Examples:
        >>> right = np.array([0, 0, 1, 1])
        >>> float(matthews(score_classes(right, right, 2)))
        1.0
    """
    labels = scores.num_labels.astype(np.float64)
    predictions = scores.num_predictions.astype(np.float64)
    total = labels.sum(-1)
    right = scores.num_right.sum(-1)
    spread = (total**2 - np.sum(each**2, -1) for each in (labels, predictions))
    wide = np.sqrt(np.prod(list(spread), axis=0))
    return divide(right * total - np.sum(labels * predictions, -1), wide)


def score_answers(labels: YesNo, predictions: YesNo) -> ClassScores:
    """Returns the scores of each class where an example may have several classes.

    Examples:
        >>> labels = np.array([[1, 1], [0, 1]], bool)
        >>> [float(f1) for f1 in score_answers(labels, labels).f1]
        [1.0, 1.0]
    """
    _check_shapes(labels, predictions)
    right = np.count_nonzero(labels & predictions, axis=-2)
    num_labels, num_predictions = (
        np.count_nonzero(answers, axis=-2) for answers in (labels, predictions)
    )
    return _score(num_labels, num_predictions, right)


def micro(scores: ClassScores) -> ClassScores:
    """Returns precision, recall and F1 of all answers together.

    With one class per example, all three are the accuracy.
    """
    return _score(*(count.sum(-1) for count in scores[3:]))


def _score(num_labels, num_predictions, right) -> ClassScores:
    return ClassScores(
        precision=divide(right, num_predictions),
        recall=divide(right, num_labels),
        f1=divide(2 * right, num_labels + num_predictions),
        num_labels=num_labels,
        num_predictions=num_predictions,
        num_right=right,
    )


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


def divide(part, whole, *, empty: float = 0.0) -> np.ndarray:
    """Returns ``part / whole``, and `empty` where the denominator is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), whole)
    return np.divide(part, whole, out=np.full(part.shape, empty), where=whole != 0)
