"""Tables of what a model answered: metrics, classes, types, lengths."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from slimjax.metrics import by_class
from slimjax.metrics.bootstrap import Estimates, estimate
from slimjax.report.answer_lines import class_names, entities_of_line, several_names
from slimjax.report.answers import Answers
from slimjax.report.quantities import ABSENT, format_count, format_decimal

Table = tuple[list[str], list[list[str]]]  # Headings, rows.
Scored = tuple[list[str], Estimates, Sequence[np.ndarray]]
"""Names of classes, their scores ``[3 C]``, and how often each is right and said."""

SIDES = ("label", "prediction")

MAX_BINS, MIN_IN_BIN = 6, 20
"""Bins of length, and examples that each should have."""

MAX_CLASSES = 60
"""Rows of the table of classes, the most frequent first."""

SCORES = ("precision", "recall", "F1")


def make_metric_table(answers: Answers) -> Table:
    """Returns a row for each metric, with its interval."""
    rows = []
    for metric in answers.metrics:
        found = answers.estimates[metric.key]
        rows.append([metric.words, format_estimate(*map(float, found))])
    return ["", "value (95 % interval)"], rows


def make_class_table(answers: Answers) -> Table | None:
    """Returns a row for each class or type of entity; None for other kinds."""
    makers = {
        "classes": _score_classes,
        "several": _score_several,
        "entities": _score_types,
    }
    if answers.kind.name not in makers:
        return None
    names, scores, counts = makers[answers.kind.name](answers)
    heads = ["", "labelled", "predicted"]
    heads += [f"{name} (95 % interval)" for name in SCORES]
    order = np.argsort(-counts[0], kind="stable")[:MAX_CLASSES]
    rows = []
    for place in order.tolist():
        cells = [names[place], *(format_count(float(count[place])) for count in counts)]
        for score in range(len(SCORES)):
            cells.append(format_estimate(*(float(s[score, place]) for s in scores)))
        rows.append(cells)
    return heads, rows


def bin_by_length(answers: Answers) -> list[Int[np.ndarray, " n"]]:
    """Returns examples by length of what was read, the shortest first."""
    lengths = np.array([len(answers.text_of(line)) for line in answers.lines])
    if not lengths.any():
        return []
    num = min(MAX_BINS, len(lengths) // MIN_IN_BIN)
    if num < 2:
        return []
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, num + 1)[1:-1]))
    place = np.searchsorted(edges, lengths, side="left")
    return [
        found for b in range(len(edges) + 1) if len(found := np.flatnonzero(place == b))
    ]


def score_lengths(answers: Answers) -> tuple[list[str], list[Estimates]]:
    """Returns the bins of length in words, and the headline metric of each."""
    names, values = [], []
    if not answers.metrics:
        return names, values
    of = {"": answers.metrics[0].of}
    for inside in bin_by_length(answers):
        lengths = [len(answers.text_of(answers.lines[i])) for i in inside]
        low, high = min(lengths), max(lengths)
        names.append(f"{low}" if low == high else f"{low} to {high}")
        rows = {name: column[inside] for name, column in answers.columns.items()}
        values.append(estimate(of, rows, seed=answers.seed)[""])
    return names, values


def _score_classes(answers: Answers) -> Scored:
    names, columns = names_of(answers), answers.columns
    counts = [np.bincount(columns[n], minlength=len(names)) for n in SIDES]
    return names, by_class.estimate_one(columns, len(names), answers.seed), counts


def _score_several(answers: Answers) -> Scored:
    columns = answers.columns
    counts = [columns[name].sum(0) for name in ("labels", "predictions")]
    scores = by_class.estimate_several(columns, answers.seed)
    return several_names(answers.lines), scores, counts


def _score_types(answers: Answers) -> Scored:
    pairs = [entities_of_line(line) for line in answers.lines]
    types, counts = by_class.count_entities(*zip(*pairs, strict=True))
    totals = counts.sum(0)
    scores = by_class.estimate_types(counts, answers.seed)
    return types, scores, [totals[:, 2], totals[:, 1]]


def format_estimate(value: float, low: float, high: float) -> str:
    """Writes a value and its interval.

    Examples:
        >>> format_estimate(0.75, 0.71, 0.8), format_estimate(0.5, np.nan, np.nan)
        ('0.750 (0.710 to 0.800)', '0.500')
    """
    text = format_decimal(value if np.isfinite(value) else None)
    ends = format_ends(low, high)
    return text if ends == ABSENT else f"{text} ({ends})"


def format_ends(low: float, high: float, digits: int = 3) -> str:
    """Writes an interval.

    Examples:
        >>> format_ends(0.71, 0.824)
        '0.710 to 0.824'
    """
    if not np.isfinite([low, high]).all():
        return ABSENT
    return f"{low:.{digits}f} to {high:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def names_of(answers: Answers) -> list[str]:
    """Returns the classes of answers of one class, or of several."""
    of = several_names if answers.kind.name == "several" else class_names
    return of(answers.lines)
