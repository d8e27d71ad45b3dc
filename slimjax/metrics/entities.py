"""Entity F1: whole entities that were found, counted per example.

An entity is ``(start, end, type)``, with its end after its last token or character.
The counts of examples add up, so F1 of any resample is a ratio of sums.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

Entity = tuple[int, int, str]


class EntityCounts(NamedTuple):
    """What was found in one example.

    Attributes:
        hits: Entities with the right type and both right ends.
        partial: Entities with both right ends, of any type, and half of those that
            only overlap a right one.
        predicted: Entities predicted.
        gold: Entities that are there.
    """

    hits: int
    partial: float
    predicted: int
    gold: int


def entities_of(tags: Sequence[str]) -> list[Entity]:
    """Returns the entities of BIO or BIOES tags; places are numbers of tokens.

    An ``I-`` or ``E-`` that continues nothing begins an entity, as in conlleval.

    Examples:
        >>> entities_of(["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-ORG"])
        [(0, 2, 'PER'), (3, 4, 'LOC'), (4, 5, 'LOC'), (5, 6, 'ORG')]
    """
    found: list[Entity] = []
    start, kind, last = 0, "", "O"
    for place, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        goes_on = mark in ("I", "E") and name == kind and last in ("B", "I")
        if kind and not goes_on:
            found.append((start, place, kind))
        if not goes_on:
            start, kind = place, name if mark != "O" else ""
        last = mark
    return found


def count_entities(
    predicted: Iterable[Sequence[Any]], gold: Iterable[Sequence[Any]]
) -> EntityCounts:
    """Counts the entities of one example; each is ``(start, end, type)``.

    Examples:
        >>> right = [(0, 2, "PER"), (3, 5, "LOC")]
        >>> count_entities([(0, 2, "PER"), (3, 4, "LOC")], right)
        EntityCounts(hits=1, partial=1.5, predicted=2, gold=2)
    """
    found, right = [tuple(e) for e in predicted], [tuple(e) for e in gold]
    hits = sum((Counter(found) & Counter(right)).values())
    return EntityCounts(hits, _count_partial(found, right), len(found), len(right))


def count_by_type(
    predicted: Iterable[Sequence[Any]],
    gold: Iterable[Sequence[Any]],
    types: Sequence[str],
) -> Float[np.ndarray, "K 3"]:
    """Returns hits, predicted and gold entities of each type in one example."""
    found = Counter(tuple(entity) for entity in predicted)
    right = Counter(tuple(entity) for entity in gold)
    counts = np.zeros((len(types), 3))
    places = {name: place for place, name in enumerate(types)}
    for column, counted in enumerate((found & right, found, right)):
        for (_, _, name), number in counted.items():
            counts[places[name], column] += number
    return counts


def f1_of_counts(hits, predicted, gold) -> Float[np.ndarray, "*batch"]:
    """Returns ``2 hits / (predicted + gold)`` of sums; 0 where both are 0.

    Examples:
        >>> float(f1_of_counts(1.0, 2.0, 2.0))
        0.5
    """
    return ratio_of(2 * np.asarray(hits, float), np.add(predicted, gold))


def ratio_of(part, whole) -> Float[np.ndarray, "*batch"]:
    """Returns ``part / whole`` of sums, such as precision; 0 where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), whole)
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)


def _count_partial(found: list[tuple], right: list[tuple]) -> float:
    """Counts as the "partial" scheme of SemEval 2013, task 9, in nervaluate's order.

    Each predicted entity takes the right one with the same ends, else the first free
    one that it overlaps.
    """
    left, points = list(right), 0.0
    for start, end, _ in found:
        touching = [e for e in left if start < e[1] and e[0] < end]
        same = [e for e in touching if (e[0], e[1]) == (start, end)]
        if touching:
            left.remove((same or touching)[0])
            points += 1.0 if same else 0.5
    return points


def entity_columns(
    predicted: Sequence[Iterable[Sequence[Any]]],
    gold: Sequence[Iterable[Sequence[Any]]],
) -> dict[str, np.ndarray]:
    """Returns the columns of entity metrics, one entry per example.

    They are ``entity_hits``, ``entity_partial``, ``entity_predicted``, ``entity_gold``.
    """
    pairs = zip(predicted, gold, strict=True)
    counts = np.array([count_entities(*pair) for pair in pairs], np.float64)
    names = (f"entity_{name}" for name in EntityCounts._fields)
    return dict(zip(names, counts.reshape(-1, 4).T, strict=True))
