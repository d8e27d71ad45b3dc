"""Kinds of values that are about places: tokens and their tags, entities, answers.

Places of a text are numbers of its characters, from 0; an end is the place after the
last character.
"""

import json
from typing import Any

from slimjax.text.files import show
from slimjax.text.reading import BadDocument
from slimjax.text.records import Record

Keys = tuple[str | int, ...]

MARKS = ("B", "I", "E", "S")
"""What stands before the type in a tag: begin, inside, end and single."""

OUTSIDE = "O"
"""The tag of a token that is in no entity."""


def read_tokens(record: Record, keys: Keys) -> tuple[str, ...] | BadDocument:
    """Returns the tokens of a text: a list, or words with spaces between them."""
    tokens = _read_strings(record, keys)
    if isinstance(tokens, BadDocument):
        return tokens
    if not tokens:
        return record.line.bad("empty", f"field {show(str(keys[0]))} is empty.")
    return tokens


def read_tags(record: Record, keys: Keys) -> tuple[str, ...] | BadDocument:
    """Returns tags: ``O``, or a mark and a type, such as ``B-PER``."""
    tags = _read_strings(record, keys)
    if isinstance(tags, BadDocument):
        return tags
    for i, tag in enumerate(tags):
        mark, dash, kind = tag.partition("-")
        if tag != OUTSIDE and not (mark in MARKS and dash and kind):
            field = f"field {show(str(keys[0]))}[{i}]"
            problem = f"{field} is {show(tag)}, not O or such as B-PER."
            return record.line.bad("wrong_type", problem)
    return tags


def read_entities(
    record: Record, keys: Keys
) -> tuple[tuple[int, int, str], ...] | BadDocument:
    """Returns ``(start, end, type)`` of each entity, in the order of their places.

    Each is a list, or an object with ``start``, ``end`` and ``type`` (or ``label``). An
    object of three lists stands for a list of such objects.
    """
    value = _read_list(record, keys)
    if isinstance(value, BadDocument):
        return value
    found = []
    for i, entity in enumerate(value):
        if isinstance(entity, dict):
            kind = entity.get("type", entity.get("label"))
            entity = [entity.get("start"), entity.get("end"), kind]
        is_triple = isinstance(entity, list | tuple) and len(entity) == 3
        if not is_triple or not _are_places(entity[:2]) or not _is_name(entity[2]):
            field = f"field {show(str(keys[0]))}[{i}]"
            problem = f"{field} is {show(entity)}, not [start, end, type]."
            return record.line.bad("wrong_type", problem)
        found.append((entity[0], entity[1], str(entity[2]).strip()))
    return tuple(sorted(found))


def read_spans(record: Record, keys: Keys) -> tuple[tuple[int, int], ...] | BadDocument:
    """Returns ``(start, end)`` of two parts of a text, in the given order."""
    value = _read_list(record, keys)
    if isinstance(value, BadDocument):
        return value
    is_pair = lambda part: isinstance(part, list | tuple) and len(part) == 2
    if len(value) != 2 or not all(
        is_pair(part) and _are_places(part) for part in value
    ):
        field = f"field {show(str(keys[0]))}"
        problem = f"{field} is {show(value)}, not [[start, end], [start, end]]."
        return record.line.bad("wrong_type", problem)
    return tuple((part[0], part[1]) for part in value)


def read_answers(
    record: Record, keys: Keys
) -> tuple[tuple[str, int], ...] | BadDocument:
    """Returns text and start of each answer; none where a question has no answer.

    They are an object of two lists, ``text`` and ``answer_start``, or of one text and
    one number; or a list of such objects.
    """
    name = f"field {show(str(keys[0]))}"
    value = _parse(record.get(keys[0]))
    if isinstance(value, BadDocument):
        return value
    objects = value if isinstance(value, list | tuple) else [value]
    found: list[tuple[str, int]] = []
    for part in objects:
        texts, starts = _lists_of(part)
        if texts is None or len(texts) != len(starts):
            problem = f'{name} is {show(part)}, not {{"text": .., "answer_start": ..}}.'
            return record.line.bad("wrong_type", problem)
        for text, start in zip(texts, starts, strict=True):
            if not isinstance(text, str) or not text or not _are_places([start]):
                problem = f"{name} has {show([text, start])}, not a text and its start."
                return record.line.bad("wrong_type", problem)
            found.append((text, start))
    return tuple(found)


def read_choices(record: Record, keys: Keys) -> tuple[int, ...] | BadDocument:
    """Returns 0 or 1 for each sentence of a document."""
    value = _read_list(record, keys)
    if isinstance(value, BadDocument):
        return value
    for i, mark in enumerate(value):
        if mark not in (0, 1):
            field = f"field {show(str(keys[0]))}[{i}]"
            problem = f"{field} is {show(mark)}, not 0 or 1."
            return record.line.bad("wrong_type", problem)
    return tuple(map(int, value))


def to_objects(value: Any) -> Any:
    """Returns an object of equally long lists as a list of objects; others as they are.

    Sequences of objects have this form in TensorFlow Datasets.

    Examples:
        >>> to_objects({"start": [0, 4], "end": [3, 8]})
        [{'start': 0, 'end': 3}, {'start': 4, 'end': 8}]
    """
    lists = list(value.values()) if isinstance(value, dict) else []
    are_lists = bool(lists) and all(isinstance(each, list | tuple) for each in lists)
    if not are_lists or len(set(map(len, lists))) > 1:
        return value
    return [dict(zip(value, parts, strict=True)) for parts in zip(*lists, strict=True)]


def _lists_of(part: Any) -> tuple[list[Any] | None, list[Any]]:
    """Returns texts and starts of an object of answers, if it is one."""
    if not isinstance(part, dict):
        return None, []
    lists = [part.get("text"), part.get("answer_start")]
    if all(isinstance(each, list | tuple) for each in lists):
        return list(lists[0]), list(lists[1])  # type: ignore[arg-type]
    return [lists[0]], [lists[1]]


def _read_strings(record: Record, keys: Keys) -> tuple[str, ...] | BadDocument:
    value, name = record.get(keys[0]), f"field {show(str(keys[0]))}"
    if isinstance(value, BadDocument):
        return value
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list | tuple):
        return record.line.bad("wrong_type", f"{name} is {show(value)}, not a list.")
    for i, part in enumerate(value):
        if not isinstance(part, str) or not part:
            problem = f"{name}[{i}] is {show(part)}, not a text."
            return record.line.bad("wrong_type", problem)
    return tuple(value)


def _read_list(record: Record, keys: Keys) -> list[Any] | BadDocument:
    """Returns a list, which a table holds as JSON."""
    value = to_objects(_parse(record.get(keys[0])))
    if isinstance(value, BadDocument):
        return value
    if not isinstance(value, list | tuple):
        problem = f"field {show(str(keys[0]))} is {show(value)}, not a list."
        return record.line.bad("wrong_type", problem)
    return list(value)


def _parse(value: Any) -> Any:
    """Returns what a text of JSON holds; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _are_places(values: Any) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 31 for value in values)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
