"""Scores of each class as plain data, for files."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from slimjax.metrics.bootstrap import Columns, Estimates, estimate, total
from slimjax.metrics.classes import (
    ClassScores,
    confusion_matrix,
    score_answers,
    score_classes,
)
from slimjax.metrics.entities import count_by_type, f1_of_counts, ratio_of

MAX_CONFUSED = 100
"""Most classes of which a confusion matrix is written."""

Names = Sequence[str]


def count_one(
    names: Names, labels: Names, predictions: Names, *, seed: int = 0
) -> dict[str, Any]:
    """Returns the scores of each class, where an example has one.

    Args:
        names: The classes.
        labels: The right class of each example.
        predictions: The predicted one.
        seed: Seed of the intervals.

    Returns:
        ``classes``, a dict for each; and ``confusion``, which counts examples by label
        (row) and prediction (column), of at most `MAX_CONFUSED` classes.

    Examples:
        >>> found = count_one(["a", "b"], ["a", "a", "b"], ["a", "b", "b"])
        >>> found["classes"][0]["recall"], found["confusion"]
        (0.5, [[1, 1], [0, 1]])
    """
    place = {name: number for number, name in enumerate(names)}
    right, said = (
        np.array([place[name] for name in side], int) for side in (labels, predictions)
    )
    scores = score_classes(right, said, len(names))
    found = estimate_one({"label": right, "prediction": said}, len(names), seed)
    counted: dict[str, Any] = {"classes": _describe(names, scores, found)}
    if len(names) <= MAX_CONFUSED:
        counted["confusion"] = confusion_matrix(right, said, len(names)).tolist()
    return counted


def count_several(
    names: Names,
    labels: Sequence[Names],
    predictions: Sequence[Names],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the scores of each class, where an example may have several.

    Examples:
        >>> found = count_several(["a", "b"], [["a"], ["a", "b"]], [["a"], []])
        >>> [own["recall"] for own in found["classes"]]
        [0.5, 0.0]
    """

    def rows(sides: Sequence[Names]) -> Bool[np.ndarray, "N C"]:
        cells = [[name in side for name in names] for side in map(set, sides)]
        return np.array(cells, bool).reshape(len(sides), len(names))

    columns = {"labels": rows(labels), "predictions": rows(predictions)}
    scores, found = score_answers(*columns.values()), estimate_several(columns, seed)
    return {"classes": _describe(names, scores, found)}


def count_types(
    predicted: Sequence[Iterable[Sequence[Any]]],
    gold: Sequence[Iterable[Sequence[Any]]],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the scores of the entities of each type, of all examples together.

    Args:
        predicted: The entities of each example, ``(start, end, type)``.
        gold: The right ones.
        seed: Seed of the intervals.

    Examples:
        >>> count_types([[(0, 1, "P")]], [[(0, 1, "P"), (2, 3, "P")]])["classes"]
        [{'class': 'P', 'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, \
'num_labels': 2, 'num_predictions': 1, 'intervals': {'precision': [1.0, 1.0], \
'recall': [0.5, 0.5], 'f1': [0.6666666666666666, 0.6666666666666666]}}]
    """
    types, counts = count_entities(predicted, gold)
    hits, found, right = (np.rint(column).astype(int) for column in counts.sum(0).T)
    scores = ClassScores(
        *(ratio_of(hits, found), ratio_of(hits, right)),
        *(f1_of_counts(hits, found, right), right, found, hits),
    )
    return {"classes": _describe(types, scores, estimate_types(counts, seed))}


def count_entities(
    predicted: Sequence[Iterable[Sequence[Any]]],
    gold: Sequence[Iterable[Sequence[Any]]],
) -> tuple[list[str], Float[np.ndarray, "N K 3"]]:
    """Returns all types, and hits, predicted and gold entities of each by example."""
    pairs = list(zip(predicted, gold, strict=True))
    types = sorted({str(e[2]) for pair in pairs for side in pair for e in side})
    counts = [count_by_type(*pair, types) for pair in pairs]
    return types, np.array(counts, float).reshape(len(pairs), len(types), 3)


def estimate_one(columns: Columns, num: int, seed: int = 0) -> Estimates:
    """Returns precision, recall and F1 of classes with intervals, ``[3 C]`` each.

    Args:
        columns: ``label`` and ``prediction``, numbers of classes, ``[N]``.
        num: How many classes there are.
        seed: Seed of the resamples.
    """
    of = lambda c: _stack(*score_classes(c["label"], c["prediction"], num)[:3])
    return estimate({"": of}, columns, seed=seed)[""]


def estimate_several(columns: Columns, seed: int = 0) -> Estimates:
    """Returns the same where an example may have several classes.

    Args:
        columns: ``labels`` and ``predictions``, yes or no, ``[N C]``.
        seed: Seed of the resamples.
    """
    of = lambda c: _stack(*score_answers(c["labels"], c["predictions"])[:3])
    return estimate({"": of}, columns, seed=seed)[""]


def estimate_types(counts: Float[np.ndarray, "N K 3"], seed: int = 0) -> Estimates:
    """Returns the same of types of entities, from what `count_entities` returns."""
    num = counts.shape[1]

    def of(columns: Columns) -> Float[np.ndarray, "*batch 3 K"]:
        sums = total(columns, "counts")
        sums = sums.reshape(*sums.shape[:-1], num, 3)
        hits, predicted, gold = (sums[..., place] for place in range(3))
        scores = ratio_of(hits, predicted), ratio_of(hits, gold)
        return _stack(*scores, f1_of_counts(hits, predicted, gold))

    flat = counts.reshape(len(counts), -1)
    return estimate({"": of}, {"counts": flat}, seed=seed)[""]


def _stack(*scores: Float[np.ndarray, "*batch C"]) -> Float[np.ndarray, "*batch 3 C"]:
    return np.stack(scores, axis=-2)


def _describe(
    names: Names, scores: ClassScores, found: Estimates
) -> list[dict[str, Any]]:
    """Returns one dict for each class, its intervals at the end."""
    columns = zip(*(values.tolist() for values in scores[:5]), strict=True)
    ends = np.stack([found.low, found.high], axis=-1)  # [3 C 2].
    described = []
    for place, (name, values) in enumerate(zip(names, columns, strict=True)):
        own = dict(zip(ClassScores._fields, values, strict=False))
        pairs = zip(ClassScores._fields[:3], ends[:, place].tolist(), strict=True)
        described.append({"class": name, **own, "intervals": dict(pairs)})
    return described
