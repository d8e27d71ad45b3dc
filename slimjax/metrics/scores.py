"""Metrics of probabilities in plain NumPy: ROC, average precision, calibration.

Functions that take `weights` sort the rows of a sample once. A line of weights says how
often each row counts, so a thousand resamples are a thousand lines.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from slimjax.metrics.classes import divide

NUM_BINS = 15
"""Bins of confidence of equal width."""

MAX_POINTS = 400
"""Points of a curve that are kept."""

_divide = partial(divide, empty=np.nan)


class Bins(NamedTuple):
    """Predictions by confidence, the least confident first.

    Attributes:
        num: Predictions in each bin.
        confidence: Their mean confidence; 0 in an empty bin.
        accuracy: The part of them that is right; 0 in an empty bin.
    """

    num: Float[np.ndarray, "*batch M"]
    confidence: Float[np.ndarray, "*batch M"]
    accuracy: Float[np.ndarray, "*batch M"]


class Curve(NamedTuple):
    """Points of a curve, from left to right."""

    x: Float[np.ndarray, " P"]
    y: Float[np.ndarray, " P"]


def roc_auc(
    scores: Float[np.ndarray, " N"],
    positives: Bool[np.ndarray, " N"],
    weights: Float[np.ndarray, "*batch N"] | None = None,
) -> Float[np.ndarray, "*batch"]:
    """Returns the area under the ROC curve: how often a positive row scores higher.

    Equal scores count half. NaN where all rows are positive, or none is.

    Args:
        scores: Higher where a row is more likely to be positive.
        positives: Which rows are positive.
        weights: How often each row counts; once, if not given.

    References:
        Hanley and McNeil, "The meaning and use of the area under a receiver operating
        characteristic (ROC) curve", 1982.

    Examples:
        >>> labels = np.array([False, False, True, True])
        >>> float(roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), labels))
        0.75
    """
    weights = np.ones(len(scores)) if weights is None else weights
    ranked = _rank(scores, positives)
    sums, own = _add_up(weights, ranked.order), weights[..., ranked.places]
    found, total = own.sum(-1), sums[..., -1]
    # All rows below each positive one, less the pairs of two positive rows.
    below = sums[..., ranked.starts] + sums[..., ranked.ends]
    pairs = (np.sum(own * below, axis=-1) - found**2) / 2
    return _divide(pairs, found * (total - found))


def average_precision(
    scores: Float[np.ndarray, " N"],
    positives: Bool[np.ndarray, " N"],
    weights: Float[np.ndarray, "*batch N"] | None = None,
) -> Float[np.ndarray, "*batch"]:
    """Returns the mean precision at each positive row, the highest scores first.

    That is the sum of precision times the gain in recall over all thresholds, as in
    scikit-learn. NaN where no row is positive. See `roc_auc` for the arguments.

    Examples:
        >>> labels = np.array([False, False, True, True])
        >>> value = average_precision(np.array([0.1, 0.4, 0.35, 0.8]), labels)
        >>> round(float(value), 4)  # (1 + 2/3) / 2
        0.8333
    """
    weights = np.ones(len(scores)) if weights is None else weights
    ranked = _rank(-scores, positives)
    own = weights[..., ranked.places]
    taken = _add_up(weights, ranked.order)[..., ranked.ends]
    found = _add_up(own, np.arange(len(ranked.places)))[..., ranked.own_ends]
    precision = _divide(found, taken, empty=0.0)
    return _divide(np.sum(own * precision, axis=-1), own.sum(-1))


def by_class(
    metric,
    scores: Float[np.ndarray, "N C"],
    labels: Int[np.ndarray, " N"],
    weights: Float[np.ndarray, "*batch N"] | None = None,
) -> Float[np.ndarray, "*batch C"]:
    """Returns `roc_auc` or `average_precision` of each class against all others."""
    classes = range(scores.shape[-1])
    each = [metric(scores[:, c], labels == c, weights) for c in classes]
    return np.stack(each, axis=-1)


def one_value(
    metric,
    scores: Float[np.ndarray, "N C"],
    labels: Int[np.ndarray, " N"],
    weights: Float[np.ndarray, "*batch N"] | None = None,
) -> Float[np.ndarray, "*batch"]:
    """Returns `roc_auc` or `average_precision` as one number.

    With two classes it is that of the second one. With more it is the mean of those
    classes, each against all others, for which it is defined.
    """
    if scores.shape[-1] == 2:
        return metric(scores[:, 1], labels == 1, weights)
    return mean_known(by_class(metric, scores, labels, weights))


def mean_known(values: Float[np.ndarray, "*batch C"]) -> Float[np.ndarray, "*batch"]:
    """Returns the mean of the values that are not NaN; NaN without any."""
    known = ~np.isnan(values)
    return _divide(np.where(known, values, 0.0).sum(-1), known.sum(-1))


def by_answer(
    metric,
    scores: Float[np.ndarray, "N C"],
    answers: Bool[np.ndarray, "N C"],
    weights: Float[np.ndarray, "*batch N"] | None = None,
) -> Float[np.ndarray, "*batch C"]:
    """Returns `roc_auc` or `average_precision` of each class by itself.

    Args:
        metric: One of the two.
        scores: Probability of each class, of which an example may have several.
        answers: Whether an example has a class.
        weights: How often each row counts; once, if not given.
    """
    sides = zip(scores.T, answers.T, strict=True)
    return np.stack([metric(*side, weights) for side in sides], axis=-1)


def reliability_of_answers(
    scores: Float[np.ndarray, "N C"],
    answers: Bool[np.ndarray, "N C"],
    weights: Float[np.ndarray, "*batch N"] | None = None,
) -> Bins:
    """Returns `reliability` of yes or no to each class, all answers together.

    The confidence of an answer is its probability, that of no being the complement.
    """
    parts = []
    for score, answer in zip(scores.T, answers.T, strict=True):
        chance = np.asarray(score, np.float64)
        right = (chance > 0.5) == answer
        parts.append(reliability(np.maximum(chance, 1 - chance), right, weights))
    num = np.sum([part.num for part in parts], axis=0)
    sums = [sum(getattr(p, name) * p.num for p in parts) for name in Bins._fields[1:]]
    return Bins(num, *(_divide(total, num, empty=0.0) for total in sums))


def roc_curve(
    scores: Float[np.ndarray, " N"], positives: Bool[np.ndarray, " N"]
) -> Curve:
    """Returns the part of positive rows found (y) by the part of false alarms (x).

    Examples:
        >>> labels = np.array([False, False, True, True])
        >>> curve = roc_curve(np.array([0.1, 0.4, 0.35, 0.8]), labels)
        >>> curve.x.tolist(), curve.y.tolist()
        ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.searchsorted(-scores[order], np.unique(-scores), side="right")
    sides = (side[order].astype(np.float64) for side in (positives, ~positives))
    y, x = (np.concatenate([[0], np.cumsum(side)[ends - 1]]) for side in sides)
    if not (x[-1] and y[-1]):
        return Curve(np.zeros(0), np.zeros(0))
    turns = np.flatnonzero(
        np.diff(x)[:-1] * np.diff(y)[1:] != np.diff(x)[1:] * np.diff(y)[:-1]
    )
    kept = np.concatenate([[0], turns + 1, [len(x) - 1]])
    if len(kept) > MAX_POINTS:
        kept = kept[np.linspace(0, len(kept) - 1, MAX_POINTS).round().astype(int)]
    return Curve(x[kept] / x[-1], y[kept] / y[-1])


def reliability(
    confidence: Float[np.ndarray, " N"],
    right: Bool[np.ndarray, " N"],
    weights: Float[np.ndarray, "*batch N"] | None = None,
    num_bins: int = NUM_BINS,
) -> Bins:
    """Returns confidence beside accuracy, in bins ``((m - 1) / M, m / M]``.

    Args:
        confidence: Probability of the predicted class.
        right: Whether it is the right one.
        weights: How often each row counts; once, if not given.
        num_bins: M.
    """
    weights = np.ones(len(right)) if weights is None else weights
    place = np.ceil(np.asarray(confidence, np.float64) * num_bins).astype(int) - 1
    inside = np.clip(place, 0, num_bins - 1)[:, None] == np.arange(num_bins)
    count = weights @ inside.astype(np.float64)
    sure = weights @ (inside * np.asarray(confidence, np.float64)[:, None])
    hits = weights @ (inside * np.asarray(right, np.float64)[:, None])
    return Bins(count, _divide(sure, count, empty=0.0), _divide(hits, count, empty=0.0))


def calibration_error(bins: Bins) -> Float[np.ndarray, "*batch"]:
    """Returns the expected calibration error: the mean gap of confidence and accuracy.

    References:
        Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks",
        2017, section 2.

    Examples:
        >>> sure, right = np.array([0.9, 0.9, 0.6]), np.array([True, False, True])
        >>> round(float(calibration_error(reliability(sure, right))), 4)
        0.4
    """
    gaps = bins.num * np.abs(bins.accuracy - bins.confidence)
    return _divide(gaps.sum(-1), bins.num.sum(-1))


class _Ranked(NamedTuple):
    """Rows in the order of their scores, the lowest first.

    Attributes:
        order: Numbers of rows in that order.
        places: Numbers of the positive rows in that order.
        starts: How many rows score less than each positive row.
        ends: How many rows score at most as much.
        own_ends: How many positive rows score at most as much.
    """

    order: Int[np.ndarray, " N"]
    places: Int[np.ndarray, " P"]
    starts: Int[np.ndarray, " P"]
    ends: Int[np.ndarray, " P"]
    own_ends: Int[np.ndarray, " P"]


def _rank(scores: np.ndarray, positives: np.ndarray) -> _Ranked:
    order = np.argsort(scores, kind="stable")
    ranked, places = scores[order], order[positives[order]]
    own = scores[places]
    starts, ends = (np.searchsorted(ranked, own, side) for side in ("left", "right"))
    return _Ranked(order, places, starts, ends, np.searchsorted(own, own, "right"))


def _add_up(
    weights: Float[np.ndarray, "*batch N"], order: Int[np.ndarray, " M"]
) -> Float[np.ndarray, "*batch M1"]:
    """Returns the sums of the first 0, 1, ... M weights in an order."""
    sums = np.zeros((*weights.shape[:-1], len(order) + 1))
    np.cumsum(np.take(weights, order, axis=-1), axis=-1, out=sums[..., 1:])
    return sums
