"""Labelled examples: values by a task's own names, each with the place it stands at.

A task asks for names and kinds, such as ``{"text": "text", "label": "label"}``;
``config.data.fields`` says what the files call them.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from slimjax.errors import ConfigError, DataError, suggest
from slimjax.text.documents import text_of
from slimjax.text.files import show
from slimjax.text.reading import BadDocument
from slimjax.text.records import Format, Record
from slimjax.text.skips import Skips
from slimjax.text.sources import Names, Source, name_sources, parse_sources

KINDS = ("text", "features", "label")


@dataclasses.dataclass(frozen=True)
class Column:
    """Where files hold one of the values that a task reads.

    Attributes:
        name: The task's name.
        kind: ``text``, ``features`` (numbers) or ``label``.
        keys: Names in a record, or places in a row of a table, counted from 0.
    """

    name: str
    kind: str
    keys: tuple[str | int, ...]


@dataclasses.dataclass(frozen=True)
class Example:
    """One example.

    Attributes:
        values: By the task's names: a text, an array of numbers, or a label's name.
        path: The file.
        number: The line of the file, from 1.
    """

    values: dict[str, Any]
    path: str
    number: int

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{show(self.path)}, line {self.number}"


def choose_columns(
    kinds: Mapping[str, str], fields: Mapping[str, Any], *, header: bool
) -> list[Column]:
    """Returns where the values that a task reads stand in the files.

    Args:
        kinds: What the task reads: names and kinds.
        fields: ``config.data.fields``; a name that is missing stands for itself.
        header: Whether tables name their columns.

    Raises:
        ConfigError: If a name is not one of the task's, or if a place is missing.

    Examples:
        >>> kinds = {"features": "features", "label": "label"}
        >>> choose_columns(kinds, {"features": "0:3", "label": 3}, header=False)
        ... # doctest: +NORMALIZE_WHITESPACE
        [Column(name='features', kind='features', keys=(0, 1, 2)),
         Column(name='label', kind='label', keys=(3,))]
    """
    where = f"config.data.fields={show(dict(fields))}"
    for name in fields:
        if name not in kinds:
            hint = suggest(str(name), kinds)
            raise ConfigError(f"{where}: this task reads no {show(name)}. {hint}")
    columns = []
    for name, kind in kinds.items():
        keys = _to_keys(fields.get(name, name), where)
        if kind != "features" and len(keys) != 1:
            raise ConfigError(f"{where}: {name} is one field, not {len(keys)}.")
        if not header and not all(isinstance(key, int) for key in keys):
            raise ConfigError(
                f"{where}: without a header, columns are numbers. Set the column of "
                f'{name}, such as {{"{name}": 0}}.'
            )
        columns.append(Column(name, kind, keys))
    return columns


def iterate_examples(
    names: Names,
    columns: list[Column],
    *,
    style: Format,
    on_bad_example: str = "error",
    skips: Skips | None = None,
    where: str = "config.data.source",
) -> Iterator[Example]:
    """Yields the examples of files of records.

    Args:
        names: Sources, ``jsonl:GLOB`` or ``csv:GLOB``.
        columns: Where the values stand.
        style: How files are to be read.
        on_bad_example: ``error``, or ``skip``.
        skips: Counts what was skipped.
        where: The setting of the sources, for messages.

    Raises:
        ConfigError: If a source holds no records.
        DataError: If there is no such file, or if an example is bad.
    """
    for source in parse_sources(names, where):
        if not source.has_records:
            raise ConfigError(
                f"{where}={show(name_sources(names))}: {source.scheme} holds no "
                "labels. Write jsonl:GLOB or csv:GLOB."
            )
        own = _with_field(columns, source)
        for path in source.find_files():
            for record in source.read_records(path, style):
                is_bad = isinstance(record, BadDocument)
                found = record if is_bad else _to_example(record, own)
                if isinstance(found, Example):
                    yield found
                else:
                    refuse_or_skip(found, on_bad_example, skips)


def refuse_or_skip(
    bad: BadDocument, on_bad_example: str, skips: Skips | None = None
) -> None:
    """Raises for an example that is bad, or counts it.

    Raises:
        DataError: Unless `on_bad_example` is ``skip``.
    """
    if on_bad_example != "skip":
        remedy = "Mend it, or set config.data.on_bad_example=skip."
        raise DataError(f"{bad.message} {remedy}")
    if skips is not None:
        skips.add(bad)


def _to_keys(value: Any, where: str) -> tuple[str | int, ...]:
    """Returns the names or places that a value of ``config.data.fields`` means."""
    if isinstance(value, list | tuple) and value:
        return tuple(key for part in value for key in _to_keys(part, where))
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return (value,)
    if isinstance(value, str) and value:
        first, colon, last = value.partition(":")
        if colon and first.isdecimal() and last.isdecimal() and int(first) < int(last):
            return tuple(range(int(first), int(last)))
        return (int(value),) if value.isdecimal() else (value,)
    raise ConfigError(f'{where}: {show(value)} must be a name, a number or "0:784".')


def _with_field(columns: list[Column], source: Source) -> list[Column]:
    """Returns the columns, the text being where ``#field`` of the source says."""
    if not source.field:
        return columns
    return [
        dataclasses.replace(column, keys=(source.field,))
        if column.kind == "text"
        else column
        for column in columns
    ]


def _to_example(record: Record, columns: list[Column]) -> Example | BadDocument:
    values = {}
    for column in columns:
        value = _READERS[column.kind](record, column.keys)
        if isinstance(value, BadDocument):
            return value
        values[column.name] = value
    return Example(values, record.line.path, record.line.number)


def _read_text(record: Record, keys: tuple[str | int, ...]) -> str | BadDocument:
    text = text_of(record, keys[0])
    if isinstance(text, str) and not text.strip():
        return record.line.bad("empty", f"field {show(str(keys[0]))} is empty.")
    return text


def _read_label(record: Record, keys: tuple[str | int, ...]) -> str | BadDocument:
    value = record.get(keys[0])
    if isinstance(value, BadDocument):
        return value
    name = f"field {show(str(keys[0]))}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.17g}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str) and value.strip().lower() not in ("", "nan"):
        return value.strip()
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "an object"
        return record.line.bad("wrong_type", f"{name} is {kind}, not a label.")
    shown = "empty" if value == "" else "null" if value is None else str(value)
    return record.line.bad("no_label", f"{name} is {show(shown)}, not a label.")


def _read_features(
    record: Record, keys: tuple[str | int, ...]
) -> np.ndarray | BadDocument:
    try:  # There may be hundreds: the quick way first.
        values = list(map(record.values.__getitem__, keys))
    except KeyError:
        values = [record.get(key) for key in keys]
        for value in values:
            if isinstance(value, BadDocument):
                return value
    names: list[Any] = list(keys)
    if len(values) == 1 and isinstance(values[0], list):
        values, names = values[0], [f"{keys[0]}[{i}]" for i in range(len(values[0]))]
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


def _to_number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


_READERS = {"text": _read_text, "features": _read_features, "label": _read_label}
