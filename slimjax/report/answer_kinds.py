"""Kinds of answers: how lines of a prediction file become columns of metrics.

A line has the fields of an example, the answer beside them, its ``loss``, and
``expected``, the right answer by the names of the task. A kind is found by what is
expected, so that no task has to be named.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from slimjax.metrics import reported
from slimjax.metrics.bootstrap import Columns
from slimjax.metrics.entities import entities_of, entity_columns
from slimjax.metrics.metric import Metric
from slimjax.metrics.spans import answer_columns
from slimjax.metrics.texts import text_columns

Json = Mapping[str, Any]
Entities = list[tuple[int, int, str]]


@dataclasses.dataclass(frozen=True)
class Line:
    """One example with its answer.

    Attributes:
        fields: All that its line holds.
        expected: The right answer, by the names of the task.
        loss: Nats per target of the example, if known.
    """

    fields: Json
    expected: Json
    loss: float | None = None

    @property
    def prediction(self) -> Any:
        """What was predicted."""
        return self.fields.get("prediction")


Lines = Sequence[Line]


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


def class_names(lines: Lines) -> list[str]:
    """Returns the classes in the order of the model, then any other that occurs."""
    scores = lines[0].fields.get("scores") if lines else None
    names = dict.fromkeys(scores) if isinstance(scores, Mapping) else {}
    for line in lines:
        names |= dict.fromkeys([label_of(line), str(line.prediction)])
    return list(names)


def label_of(line: Line) -> str:
    """Returns the right class as a name."""
    return name_of(line.expected["label"])


def labels_of(line: Line) -> list[Any]:
    """Returns the right classes of an example that may have several."""
    found = line.expected["label"]
    if isinstance(found, list):
        return found
    return [name for name in str(found).split("|") if name.strip()]


def name_of(value: Any) -> str:
    """Returns a class as `slimjax.text.kinds` names it.

    Examples:
        >>> name_of(True), name_of(4), name_of(0.5), name_of(" good ")
        ('true', '4', '0.5', 'good')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.17g}" if isinstance(value, float) else str(value).strip()


def entities_of_line(line: Line) -> tuple[Entities, Entities]:
    """Returns predicted and right entities; places count tokens, or characters."""
    tags, gold = line.expected.get("tags"), line.expected.get("entities")
    if tags is not None and _is_list(line.prediction):
        return entities_of(list(map(str, line.prediction))), entities_of(tags)
    return read_entities(line.fields.get("entities")), read_entities(gold)


def read_entities(value: Any) -> Entities:
    """Returns entities of JSON, without entries that are damaged."""
    found = []
    for entry in value if _is_list(value) else []:
        if _is_list(entry) and len(entry) >= 3:
            start, end, kind = entry[:3]
            if isinstance(start, int) and isinstance(end, int):
                found.append((start, end, str(kind)))
    return found


def answers_of(line: Line) -> list[str]:
    """Returns the right answers to a question; none if it has none."""
    found = line.expected["answers"]
    texts = found.get("text") if isinstance(found, Mapping) else found
    texts = texts if isinstance(texts, list | tuple) else [texts]
    plain = [t.get("text") if isinstance(t, Mapping) else t for t in texts]
    plain = [t[0] if _is_list(t) and t else t for t in plain]
    return [text for text in plain if isinstance(text, str)]


def references_of(line: Line) -> list[str]:
    """Returns the right texts."""
    value = next(line.expected[name] for name in TEXTS if name in line.expected)
    return [str(text) for text in (value if _is_list(value) else [value])]


TEXTS = ("target", "summary")
"""Names under which tasks know a right text."""


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


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


def several_names(lines: Lines) -> list[str]:
    """Returns the classes of examples that may have several."""
    sides = [(*line.prediction, *labels_of(line)) for line in lines]
    return sorted({name_of(name) for side in sides for name in side})


def _several_columns(lines: Lines) -> Columns:
    names = several_names(lines)

    def rows(sides: list[Any]) -> Bool[np.ndarray, "N C"]:
        own = [{name_of(name) for name in side} for side in sides]
        cells = [[name in side for name in names] for side in own]
        return np.array(cells, bool).reshape(len(own), len(names))

    return {
        "labels": rows([labels_of(line) for line in lines]),
        "predictions": rows([line.prediction for line in lines]),
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
        lambda line: _is_list(line.prediction) and "label" in line.expected,
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
        "texts",
        lambda line: (
            bool(set(TEXTS) & set(line.expected)) and _is_text(line.prediction)
        ),
        _text_columns,
        reported.TEXTS,
        _text_cost,
    ),
)
