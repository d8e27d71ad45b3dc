"""Kinds of values in an example, and how each is read from a record.

A reader takes a record and the names of fields. It returns the value, or a
`BadDocument` that says what is wrong with it. A new kind is one function and one row of
`KINDS`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from slimjax.errors import ConfigError, suggest
from slimjax.text.documents import text_of
from slimjax.text.files import show
from slimjax.text.reading import BadDocument
from slimjax.text.records import Record
from slimjax.text.source_images import SourceImage, make_picture, read_picture
from slimjax.text.span_kinds import (
    read_answers,
    read_choices,
    read_entities,
    read_spans,
    read_tags,
    read_tokens,
    to_objects,
)

Keys = tuple[str | int, ...]
OPTIONAL = "?"
"""Ends the kind of a value that an example may lack, such as ``text?``."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of value.

    Attributes:
        read: From a record and names of fields to a value, or to what is wrong.
        is_target: Whether it is the answer of an example, which prediction lacks.
        joins_fields: Whether it may take several fields of a record.
    """

    read: Callable[[Record, Keys], Any]
    is_target: bool = False
    joins_fields: bool = False


def find_kind(name: str) -> Kind:
    """Returns a kind by its name, optional or not.

    Raises:
        ConfigError: If there is none of this name.

    Examples:
        >>> find_kind("label").is_target, find_kind("text?").is_target
        (True, False)
    """
    plain = name.removesuffix(OPTIONAL)
    if plain not in KINDS:
        raise ConfigError(f"{show(name)} is not a kind. {suggest(plain, KINDS)}")
    return KINDS[plain]


def read_text(record: Record, keys: Keys) -> str | BadDocument:
    """Returns a text that is not blank."""
    text = text_of(record, keys[0])
    if isinstance(text, str) and not text.strip():
        return record.line.bad("empty", f"field {show(str(keys[0]))} is empty.")
    return text


def read_texts(record: Record, keys: Keys) -> tuple[str, ...] | BadDocument:
    """Returns one text or several, none of them blank."""
    value = record.get(keys[0])
    if not isinstance(value, list | tuple):
        text = read_text(record, keys)
        return text if isinstance(text, BadDocument) else (text,)
    field = f"field {show(str(keys[0]))}"
    if not value:
        return record.line.bad("empty", f"{field} is an empty list.")
    for i, text in enumerate(value):
        if not isinstance(text, str):
            problem = f"{field}[{i}] is {show(text)}, not a text."
            return record.line.bad("wrong_type", problem)
        if not text.strip():
            return record.line.bad("empty", f"{field}[{i}] is empty.")
    return tuple(value)


def read_messages(
    record: Record, keys: Keys
) -> tuple[tuple[str, str], ...] | BadDocument:
    """Returns roles and contents of messages, none of them blank."""
    value = to_objects(record.get(keys[0]))
    if isinstance(value, BadDocument):
        return value
    field = f"field {show(str(keys[0]))}"
    if not isinstance(value, list | tuple) or not value:
        problem = f"{field} is {show(value)}, not a list of messages."
        return record.line.bad("wrong_type", problem)
    messages: list[tuple[str, str]] = []
    for i, message in enumerate(value):
        parts = [
            message.get(name) if isinstance(message, dict) else None
            for name in ("role", "content")
        ]
        if not all(isinstance(part, str) and part.strip() for part in parts):
            problem = f"{field}[{i}] is {show(message)}, not a role and a content."
            return record.line.bad("wrong_type", problem)
        messages.append((str(parts[0]).strip(), str(parts[1])))
    return tuple(messages)


def read_label(record: Record, keys: Keys) -> str | BadDocument:
    """Returns the name of a class: a word, a number as text, ``true`` or ``false``."""
    value = record.get(keys[0])
    if isinstance(value, BadDocument):
        return value
    return name_label(value, record, f"field {show(str(keys[0]))}")


def name_label(value: Any, record: Record, field: str) -> str | BadDocument:
    """Returns one value as the name of a class; `field` names it in messages."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value):
        return name_number(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str) and value.strip().lower() not in ("", "nan"):
        return value.strip()
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "an object"
        return record.line.bad("wrong_type", f"{field} is {kind}, not a label.")
    shown = "empty" if value == "" else "null" if value is None else str(value)
    return record.line.bad("no_label", f"{field} is {show(shown)}, not a label.")


def name_number(value: float) -> str:
    """Returns the shortest name of a finite number; whole ones have no point.

    Examples:
        >>> name_number(0.1), name_number(3.0), name_number(1e20)
        ('0.1', '3', '1e+20')
    """
    return f"{value:.17g}" if value.is_integer() else repr(value)


def read_domain(record: Record, keys: Keys) -> str | BadDocument:
    """Returns the name of a domain; "" where a record leaves it open."""
    value = record.get(keys[0])
    if value is None or value == "" or isinstance(value, BadDocument):
        return value or ""
    if isinstance(value, list | dict):
        problem = f"field {show(str(keys[0]))} is {show(value)}, not a domain."
        return record.line.bad("wrong_type", problem)
    return str(value).strip()


def read_labels(record: Record, keys: Keys) -> tuple[str, ...] | BadDocument:
    """Returns the names of all classes of an example, sorted, each once.

    Without any class the field is an empty list. In a table the names have ``|``
    between them.
    """
    value = record.get(keys[0])
    if isinstance(value, BadDocument):
        return value
    if isinstance(value, str):
        value = [part for part in value.split("|") if part.strip()]
    field = f"field {show(str(keys[0]))}"
    if not isinstance(value, list | tuple):
        problem = f"{field} is {show(value)}, not a list of labels."
        return record.line.bad("wrong_type", problem)
    names: set[str] = set()
    for i, part in enumerate(value):
        name = name_label(part, record, f"{field}[{i}]")
        if isinstance(name, BadDocument):
            return name
        names.add(name)
    return tuple(sorted(names))


def read_value(record: Record, keys: Keys) -> float | BadDocument:
    """Returns a finite number."""
    value = record.get(keys[0])
    if isinstance(value, BadDocument):
        return value
    number = math.nan if isinstance(value, bool) else _to_number(value)
    if math.isfinite(number):
        return number
    shown = "empty" if value == "" else "null" if value is None else value
    problem = f"field {show(str(keys[0]))} is {show(shown)}, not a finite number."
    return record.line.bad("not_a_number", problem)


def read_features(record: Record, keys: Keys) -> np.ndarray | BadDocument:
    """Returns float32 ``[F]``, from many fields or from one list."""
    try:  # There may be hundreds: the quick way first.
        values = list(map(record.values.__getitem__, keys))
    except KeyError:
        values = [record.get(key) for key in keys]
        for value in values:
            if isinstance(value, BadDocument):
                return value
    names: list[Any] = list(keys)
    if len(values) == 1 and isinstance(values[0], list | tuple | np.ndarray):
        only = values[0]
        values = list(only.reshape(-1) if isinstance(only, np.ndarray) else only)
        names = [f"{keys[0]}[{i}]" for i in range(len(values))]
    try:
        with np.errstate(over="ignore"):  # What is too large becomes infinite.
            numbers = np.array(values, np.float32)
    except (TypeError, ValueError, OverflowError):
        numbers = np.array([_to_number(value) for value in values], np.float32)
    wrong = np.flatnonzero(~np.isfinite(numbers.reshape(-1)))
    if numbers.ndim != 1 or not numbers.size:
        return record.line.bad("wrong_type", f"field {keys[0]} is not a list.")
    if wrong.size:
        name, value = names[wrong[0]], values[wrong[0]]
        problem = f"field {show(str(name))} is {show(value)}, not a number."
        return record.line.bad("not_a_number", problem)
    return numbers


def read_image(record: Record, keys: Keys) -> SourceImage | BadDocument:
    """Returns an image: from its path or its pixels, or from many fields.

    Many fields are the bytes of a square image of one channel, row by row.
    """
    if len(keys) == 1:
        return read_picture(record, keys)
    numbers = read_features(record, keys)
    if isinstance(numbers, BadDocument):
        return numbers
    side, pixels = math.isqrt(len(numbers)), numbers.astype(np.uint8)
    if side * side != len(numbers):
        problem = f"has {len(numbers)} numbers for an image, which are no square."
        return record.line.bad("wrong_columns", problem)
    if (pixels != numbers).any():
        problem = "has numbers for an image that are not whole, or not 0 to 255."
        return record.line.bad("not_a_number", problem)
    found = make_picture(pixels.reshape(side, side), record.line.where)
    assert isinstance(found, SourceImage)
    return found


def _to_number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _of_lists(read: Callable[[Record, Keys], Any]) -> Callable[[Record, Keys], Any]:
    """Returns a reader of lists to which a table may give one as JSON."""
    return lambda record, keys: read(record.unfold(keys[0]), keys)


KINDS = {
    "text": Kind(read_text),
    "texts": Kind(_of_lists(read_texts), is_target=True),
    "passage": Kind(read_text, is_target=True),
    "sentences": Kind(_of_lists(read_texts)),
    "choices": Kind(read_choices, is_target=True),
    "messages": Kind(_of_lists(read_messages)),
    "features": Kind(read_features, joins_fields=True),
    "image": Kind(read_image, joins_fields=True),
    "domain": Kind(read_domain),
    "label": Kind(read_label, is_target=True),
    "labels": Kind(read_labels, is_target=True),
    "value": Kind(read_value, is_target=True),
    "tokens": Kind(_of_lists(read_tokens)),
    "tags": Kind(_of_lists(read_tags), is_target=True),
    "entities": Kind(read_entities, is_target=True),
    "spans": Kind(read_spans),
    "answers": Kind(read_answers, is_target=True),
}
"""All kinds by name."""
