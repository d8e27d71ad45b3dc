"""Kinds of answers: how lines of a prediction file become columns of metrics.

A kind is found by what is expected, so that no task has to be named.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from slimjax.metrics import reported
from slimjax.metrics.bootstrap import Columns
from slimjax.metrics.entities import entity_columns
from slimjax.metrics.metric import Metric
from slimjax.metrics.spans import answer_columns
from slimjax.metrics.texts import text_columns
from slimjax.report.answer_lines import (
    TEXTS,
    Line,
    Lines,
    answers_of,
    class_names,
    entities_of_line,
    is_list,
    label_of,
    labels_of,
    name_of,
    references_of,
    several_names,
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of answer.

    Attributes:
        name: Its name.
        fits: Whether a line is of this kind.
        columns: From lines to columns, one entry per line.
        metrics: What is computed of them, the headline first.
        cost: From columns to how wrong each answer is; 0 where it is right.
    """

    name: str
    fits: Callable[[Line], bool]
    columns: Callable[[Lines], Columns]
    metrics: tuple[Metric, ...]
    cost: Callable[[Columns], Float[np.ndarray, " N"]]


def find_kind(lines: Lines) -> Kind | None:
    """Returns the kind that all lines fit, or None."""
    fitting = [kind for kind in KINDS if lines and all(map(kind.fits, lines))]
    return fitting[0] if fitting else None


def _class_columns(lines: Lines) -> Columns:
    names = {name: place for place, name in enumerate(class_names(lines))}
    scores = np.zeros((len(lines), len(names)))
    for row, line in enumerate(lines):
        for name, value in line.fields["scores"].items():
            scores[row, names[name]] = value or 0.0
    return {
        "label": np.array([names[label_of(line)] for line in lines]),
        "prediction": np.array([names[str(line.prediction)] for line in lines]),
        "scores": scores,
    }


def _several_columns(lines: Lines) -> Columns:
    names = several_names(lines)

    def rows(sides: list[Any]) -> Bool[np.ndarray, "N C"]:
        own = [{name_of(name) for name in side} for side in sides]
        cells = [[name in side for name in names] for side in own]
        return np.array(cells, bool).reshape(len(own), len(names))

    given = [line.fields.get("scores") or {} for line in lines]
    scores = [[float(own.get(name) or 0.0) for name in names] for own in given]
    return {
        "labels": rows([labels_of(line) for line in lines]),
        "predictions": rows([line.prediction for line in lines]),
        "scores": np.array(scores, float).reshape(len(lines), len(names)),
    }


def _value_columns(lines: Lines) -> Columns:
    return {
        "value": np.array([float(line.expected["value"]) for line in lines]),
        "prediction": np.array([float(line.prediction) for line in lines]),
    }


def _entity_columns(lines: Lines) -> Columns:
    pairs = [entities_of_line(line) for line in lines]
    return entity_columns([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def _span_columns(lines: Lines) -> Columns:
    predictions = [str(line.prediction) for line in lines]
    return answer_columns(predictions, [answers_of(line) for line in lines])


def _text_columns(lines: Lines) -> Columns:
    predictions = [str(line.prediction) for line in lines]
    references = [references_of(line) for line in lines]
    loss = [np.nan if line.loss is None else line.loss for line in lines]
    return text_columns(predictions, references) | {"loss": np.array(loss)}


def _sentence_columns(lines: Lines) -> Columns:
    said = [{*line.fields["chosen"]} for line in lines]
    right = [{i for i, m in enumerate(li.expected["labels"]) if m} for li in lines]
    pairs = list(zip(said, right, strict=True))
    return {
        "sentence_hits": np.array([len(own & gold) for own, gold in pairs]),
        "sentence_chosen": np.array([len(own) for own in said]),
        "sentence_right": np.array([len(gold) for gold in right]),
    }


def _missed_sentences(columns: Columns) -> Float[np.ndarray, " N"]:
    both = columns["sentence_chosen"] + columns["sentence_right"]
    return (both - 2 * columns["sentence_hits"]).astype(float)


def _missed_entities(columns: Columns) -> Float[np.ndarray, " N"]:
    both = columns["entity_predicted"] + columns["entity_gold"]
    return both - 2 * columns["entity_hits"]


def _text_cost(columns: Columns) -> Float[np.ndarray, " N"]:
    if "rouge" in columns:
        return 1 - columns["rouge"][:, -1] / 100
    return np.nan_to_num(columns["loss"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


KINDS = (
    Kind(
        "classes",
        lambda line: (
            isinstance(line.fields.get("scores"), Mapping)
            and _is_text(line.prediction)
            and isinstance(line.expected.get("label"), str | int | float)
        ),
        _class_columns,
        reported.CLASSES,
        lambda c: (c["label"] != c["prediction"]).astype(float),
    ),
    Kind(
        "several",
        lambda line: (
            isinstance(line.fields.get("scores"), Mapping)
            and is_list(line.prediction)
            and "label" in line.expected
        ),
        _several_columns,
        reported.ANSWERS,
        lambda c: np.sum(c["labels"] != c["predictions"], axis=-1).astype(float),
    ),
    Kind(
        "values",
        lambda line: (
            _is_number(line.prediction) and _is_number(line.expected.get("value"))
        ),
        _value_columns,
        reported.VALUES,
        lambda c: np.abs(c["value"] - c["prediction"]),
    ),
    Kind(
        "entities",
        lambda line: bool({"tags", "entities"} & set(line.expected)),
        _entity_columns,
        reported.ENTITIES,
        _missed_entities,
    ),
    Kind(
        "spans",
        lambda line: "answers" in line.expected and _is_text(line.prediction),
        _span_columns,
        reported.SPANS,
        lambda c: 1 - c["answer_f1"],
    ),
    Kind(
        "ranks",
        lambda line: type(line.fields.get("rank")) is int,
        lambda lines: {"rank": np.array([line.fields["rank"] for line in lines])},
        reported.RANKS,
        lambda c: (c["rank"] - 1).astype(float),
    ),
    Kind(
        "sentences",
        lambda line: (
            is_list(line.fields.get("chosen")) and is_list(line.expected.get("labels"))
        ),
        _sentence_columns,
        reported.SENTENCES,
        _missed_sentences,
    ),
    Kind(
        "summaries",
        lambda line: (
            is_list(line.fields.get("chosen"))
            and "summary" in line.expected
            and _is_text(line.prediction)
        ),
        _text_columns,
        reported.SUMMARIES,
        _text_cost,
    ),
    Kind(
        "texts",
        lambda line: (
            bool(set(TEXTS) & set(line.expected)) and _is_text(line.prediction)
        ),
        _text_columns,
        reported.TEXTS,
        _text_cost,
    ),
)
