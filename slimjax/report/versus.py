"""Several runs on the same test examples, with paired intervals and tests."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from slimjax.metrics.paired import compare_metric, mcnemar
from slimjax.report.answer_tables import format_ends
from slimjax.report.answers import Answers
from slimjax.report.quantities import format_decimal, format_signed
from slimjax.report.read import Run

HEADS = ["", "first run", "other run", "difference", "95 % interval", "p"]
NOTE = (
    "Differences are of the other run minus the first, on the same examples, by a "
    "paired bootstrap of 1,000 resamples."
)


WITHOUT_RIGHT = ("texts", "summaries", "sentences")
"""Kinds whose answers are seldom wholly right, so that these are not counted."""


class Pair(NamedTuple):
    """Two runs by their places, and their answers."""

    first: int
    second: int
    answers: tuple[Answers, Answers]


def compare_answers(
    runs: Sequence[Run], known: Sequence[Answers | None]
) -> tuple[list[list[str]], list[str]]:
    """Returns rows under `HEADS`, each later run against the first one, and notes."""
    rows, notes = [], []
    for pair in _find_pairs(known):
        names = runs[pair.first].name, runs[pair.second].name
        title = f"{names[1]} against {names[0]}"
        rows.append([title, *[""] * (len(HEADS) - 1)])
        rows += _compare(*pair.answers)
        if pair.answers[0].kind.name not in ("values", "ranks", *WITHOUT_RIGHT):
            notes.append(f"{title}: {_test(*pair.answers, names)}")
    return rows, notes


def explain_unpaired(runs: Sequence[Run], known: Sequence[Answers | None]) -> str:
    """Returns which runs have no answers, or answers to other examples."""
    missing = [run.name for run, own in zip(runs, known, strict=True) if own is None]
    if missing:
        return (
            f"No paired test for {', '.join(missing)}: "
            "run slimjax evaluate --workdir=DIR first, which writes its answers."
        )
    if len(_find_pairs(known)) < len(known) - 1:
        return "Some runs have other test examples, so that they are not paired."
    return ""


def _find_pairs(known: Sequence[Answers | None]) -> list[Pair]:
    places = [i for i, answers in enumerate(known) if answers is not None]
    pairs = []
    for place in places[1:]:
        first, second = known[places[0]], known[place]
        if first and second and _are_same(first, second):
            pairs.append(Pair(places[0], place, (first, second)))
    return pairs


def _are_same(first: Answers, second: Answers) -> bool:
    """Whether two runs answered the same examples, in the same order."""
    if first.kind != second.kind or len(first.lines) != len(second.lines):
        return False
    return first.split == second.split and all(
        a.expected == b.expected and first.text_of(a) == second.text_of(b)
        for a, b in zip(first.lines, second.lines, strict=True)
    )


def _compare(first: Answers, second: Answers) -> list[list[str]]:
    """Returns a row for each metric."""
    rows = []
    for metric in first.metrics:
        pair = first.columns, second.columns
        found = compare_metric(metric.of, *pair, seed=first.seed)
        values = [float(own.estimates[metric.key].value) for own in (first, second)]
        cells = [format_decimal(value) for value in values]
        cells += [format_signed(found.value), format_ends(*found[1:3], digits=4)]
        rows.append([metric.words, *cells, format_p(found.p)])
    return rows


def _test(first: Answers, second: Answers, names: tuple[str, str]) -> str:
    found = mcnemar(first.costs == 0, second.costs == 0)
    return (
        f"{found.only_first:,} examples are right in {names[0]} alone, "
        f"{found.only_second:,} in {names[1]} alone; "
        f"McNemar's exact test, p {format_p(found.p, sign='= ')}."
    )


def format_p(value: float, sign: str = "") -> str:
    """Writes a probability.

    Examples:
        >>> format_p(0.0312), format_p(0.0004), format_p(0.0312, sign="= ")
        ('0.031', '< 0.001', '= 0.031')
        >>> format_p(math.nan)
        'unknown'
    """
    if math.isnan(value):
        return "unknown"
    return "< 0.001" if value < 0.001 else f"{sign}{value:.3f}"
