"""Lines of a prediction file: what was expected in each, and what was predicted.

A line has the fields of an example, the answer beside them, its ``loss``, and
``expected``, the right answer by the names of the task.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from slimjax.metrics.entities import entities_of
from slimjax.text.kinds import name_number

Json = Mapping[str, Any]
Entities = list[tuple[int, int, str]]


@dataclasses.dataclass(frozen=True)
class Line:
    """One example with its answer.

    Attributes:
        fields: All that its line holds.
        expected: The right answer, by the names of the task.
        loss: Nats per target of the example, if known.
        number: Of the example among all lines, from 0.
    """

    fields: Json
    expected: Json
    loss: float | None = None
    number: int = 0

    @property
    def prediction(self) -> Any:
        """What was predicted."""
        return self.fields.get("prediction")


Lines = Sequence[Line]


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
        >>> name_of(True), name_of(4), name_of(0.1), name_of(" good ")
        ('true', '4', '0.1', 'good')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return name_number(value) if isinstance(value, float) else str(value).strip()


def entities_of_line(line: Line) -> tuple[Entities, Entities]:
    """Returns predicted and right entities; places count tokens, or characters."""
    tags, gold = line.expected.get("tags"), line.expected.get("entities")
    if tags is not None and is_list(line.prediction):
        return entities_of(list(map(str, line.prediction))), entities_of(tags)
    return read_entities(line.fields.get("entities")), read_entities(gold)


def read_entities(value: Any) -> Entities:
    """Returns entities of JSON, without entries that are damaged."""
    found = []
    for entry in value if is_list(value) else []:
        if is_list(entry) and len(entry) >= 3:
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
    plain = [t[0] if is_list(t) and t else t for t in plain]
    return [text for text in plain if isinstance(text, str)]


def place_of_answer(line: Line, text: str) -> tuple[int, int] | None:
    """Returns where the first right answer stands in a context, or None."""
    for answer in answers_of(line)[:1]:
        starts = [entry[1] for entry in line.expected["answers"] if _is_place(entry)]
        start = starts[0] if starts else text.find(answer)
        if answer and text[start : start + len(answer)] == answer:
            return start, start + len(answer)
    return None


def references_of(line: Line) -> list[str]:
    """Returns the right texts."""
    value = next(line.expected[name] for name in TEXTS if name in line.expected)
    return [str(text) for text in (value if is_list(value) else [value])]


TEXTS = ("target", "summary")
"""Names under which tasks know a right text."""


def _is_place(entry: Any) -> bool:
    """Whether an entry is ``[text, start]``, as evaluations write it."""
    return is_list(entry) and len(entry) == 2 and isinstance(entry[1], int)


def is_span(entry: Any) -> bool:
    """Whether an entry is ``[start, end]``."""
    return is_list(entry) and len(entry) == 2 and all(type(x) is int for x in entry)


def is_list(value: Any) -> bool:
    """Whether a value is a list of JSON."""
    return isinstance(value, list | tuple)


def several_names(lines: Lines) -> list[str]:
    """Returns the classes of examples that may have several, all of the model's."""
    sides = [
        (*line.prediction, *labels_of(line), *(line.fields.get("scores") or ()))
        for line in lines
    ]
    return sorted({name_of(name) for side in sides for name in side})
