"""Scores of each class as plain data, for files."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

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


def count_one(names: Names, labels: Names, predictions: Names) -> dict[str, Any]:
    """Returns the scores of each class, where an example has one.

    Args:
        names: The classes.
        labels: The right class of each example.
        predictions: The predicted one.

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
    counted: dict[str, Any] = {"classes": _describe(names, scores)}
    if len(names) <= MAX_CONFUSED:
        counted["confusion"] = confusion_matrix(right, said, len(names)).tolist()
    return counted


def count_several(
    names: Names, labels: Sequence[Names], predictions: Sequence[Names]
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

    scores = score_answers(rows(labels), rows(predictions))
    return {"classes": _describe(names, scores)}


def count_types(
    predicted: Sequence[Iterable[Sequence[Any]]],
    gold: Sequence[Iterable[Sequence[Any]]],
) -> dict[str, Any]:
    """Returns the scores of the entities of each type, of all examples together.

    Args:
        predicted: The entities of each example, ``(start, end, type)``.
        gold: The right ones.

    Examples:
        >>> count_types([[(0, 1, "P")]], [[(0, 1, "P"), (2, 3, "P")]])["classes"]
        [{'class': 'P', 'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, \
'num_labels': 2, 'num_predictions': 1}]
    """
    pairs = list(zip(predicted, gold, strict=True))
    types = sorted({str(e[2]) for pair in pairs for side in pair for e in side})
    counts = np.zeros((len(types), 3))
    for pair in pairs:
        counts += count_by_type(*pair, types)
    hits, found, right = (np.rint(column).astype(int) for column in counts.T)
    scores = ClassScores(
        *(ratio_of(hits, found), ratio_of(hits, right)),
        *(f1_of_counts(hits, found, right), right, found, hits),
    )
    return {"classes": _describe(types, scores)}


def _describe(names: Names, scores: ClassScores) -> list[dict[str, Any]]:
    """Returns one dict for each class."""
    columns = zip(*(values.tolist() for values in scores[:5]), strict=True)
    return [
        {"class": name, **dict(zip(ClassScores._fields, values, strict=False))}
        for name, values in zip(names, columns, strict=True)
    ]
