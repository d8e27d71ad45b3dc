"""Examples: values by a task's own names, each with the place it stands at.

A task asks for names and kinds, such as ``{"text": "text", "label": "label"}``, and
`slimjax.text.fields` says where files hold them. Examples come from files, with their
targets or without, or from Python.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from slimjax.errors import ConfigError, DataError
from slimjax.text.documents import check_whole
from slimjax.text.fields import (
    Column,
    choose_text_column,
    value_of_text,
    with_field,
)
from slimjax.text.files import show
from slimjax.text.kinds import find_kind
from slimjax.text.reading import OF_WHOLE_FILES, BadDocument, Line, read_lines
from slimjax.text.records import Format, Record
from slimjax.text.skips import Skips
from slimjax.text.sources import (
    HOLD_RECORDS,
    Names,
    Source,
    name_sources,
    parse_sources,
)

IN_MEMORY = "input"
"""Stands for the file of examples that come from Python."""


@dataclasses.dataclass(frozen=True)
class Example:
    """One example.

    Attributes:
        values: By the task's names: a text, an array of numbers, or a label's name. An
            optional one may be missing.
        path: The file.
        number: The line of the file, from 1.
        record: All fields as the file has them, where they were asked for.
        unit: What `number` counts.
        group: Value of the field that keeps examples in one split, if there is one.
    """

    values: dict[str, Any]
    path: str
    number: int
    record: Mapping[Any, Any] = dataclasses.field(default_factory=dict)
    unit: str = "line"
    group: str = ""

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{show(self.path)}, {self.unit} {self.number}"

    def bad(self, reason: str, problem: str) -> BadDocument:
        """Returns what to yield in place of the example."""
        return BadDocument(reason, f"{self.where} {problem}", self.path)


def iterate_examples(
    names: Names,
    columns: list[Column],
    *,
    style: Format,
    on_bad_example: str = "error",
    skips: Skips | None = None,
    where: str = "config.data.source",
    group_field: str = "",
    keep_records: bool = False,
) -> Iterator[Example]:
    """Yields the examples of files of records.

    Args:
        names: Sources whose files hold records.
        columns: Where the values stand.
        style: How files are to be read.
        on_bad_example: ``error``, or ``skip``.
        skips: Counts what was skipped.
        where: The setting of the sources, for messages.
        group_field: A field whose value becomes `Example.group`.
        keep_records: Whether examples keep all fields of the file, but for the many
            fields of features.

    Raises:
        ConfigError: If a source holds no records.
        DataError: If there is no such file, or if an example is bad.
    """
    many = {key for column in columns if len(column.keys) > 1 for key in column.keys}
    for source, record in _iterate_records(names, style, where):
        found = _make(record, with_field(columns, source), keep_record=keep_records)
        if many and keep_records and isinstance(found, Example):
            own = {k: v for k, v in found.record.items() if k not in many}
            found = dataclasses.replace(found, record=own)
        if group_field and isinstance(found, Example) and isinstance(record, Record):
            found = _with_group(found, record, group_field)
        if isinstance(found, Example):
            yield found
        else:
            refuse_or_skip(found, on_bad_example, skips)


def iterate_inputs(
    names: Names,
    columns: list[Column],
    *,
    style: Format,
    where: str = "config.data.source",
) -> Iterator[Example | BadDocument]:
    """Yields examples without targets, in order, with their records.

    What is bad is yielded in its place. The lines of ``text:GLOB`` are examples of one
    text.

    Args:
        names: Sources.
        columns: Where the values stand; those of targets are not read.
        style: How files are to be read.
        where: The setting of the sources, for messages.

    Raises:
        ConfigError: If a source holds no examples.
        DataError: If there is no such file.
    """
    inputs = [column for column in columns if not column.is_target]
    of_lines = choose_text_column(inputs)
    for source, record in _iterate_records(names, style, where, of_lines):
        yield _make(record, with_field(inputs, source), keep_record=True)


def make_inputs(
    items: Iterable[Any],
    columns: list[Column],
    *,
    path: str = IN_MEMORY,
    image_dir: str = "",
) -> Iterator[Example | BadDocument]:
    """Yields examples without targets from Python values, with their records.

    Args:
        items: Texts, for a task that reads one, or mappings with the names that files
            would have.
        columns: Where the values stand; those of targets are not read.
        path: Stands for a file in messages.
        image_dir: Folder of the images that items name; "" for the working directory.

    Examples:
        >>> columns = [Column("text", "text", ("text",))]
        >>> [found.values["text"] for found in make_inputs(["good"], columns)]
        ['good']
    """
    inputs = [column for column in columns if not column.is_target]
    of_lines = choose_text_column(inputs)
    for number, item in enumerate(items, start=1):
        line = Line("", number, path, unit="example")
        if isinstance(item, str) and of_lines is not None:
            item = {of_lines.keys[0]: value_of_text(of_lines, item)}
        if isinstance(item, Mapping):
            record = Record(dict(item), line, folder=image_dir, is_own=True)
            yield _make(record, inputs, keep_record=True)
        else:
            wanted = "an object" if of_lines is None else "a text or an object"
            yield line.bad("wrong_type", f"is {show(item)}, not {wanted}.")


def refuse_or_skip(
    bad: BadDocument, on_bad_example: str, skips: Skips | None = None
) -> None:
    """Raises for an example that is bad, or counts it.

    Raises:
        DataError: Unless `on_bad_example` is ``skip``; and always where a whole file is
            not what it should be.
    """
    if bad.reason in OF_WHOLE_FILES:
        raise DataError(bad.message)
    if on_bad_example != "skip":
        remedy = "Mend it, or set config.data.on_bad_example=skip."
        raise DataError(f"{bad.message} {remedy}")
    if skips is not None:
        skips.add(bad)


def _iterate_records(
    names: Names, style: Format, where: str, of_lines: Column | None = None
) -> Iterator[tuple[Source, Record | BadDocument]]:
    """Yields all records with their sources; `of_lines` says what plain lines are."""
    for source in parse_sources(names, where):
        if source.scheme == "text" and of_lines is not None:
            for part in source.find_files(style):
                for line in read_lines(part.path, style.encoding):
                    is_bad = isinstance(line, BadDocument)
                    if is_bad:
                        yield source, line
                        continue
                    value = value_of_text(of_lines, line.text)
                    yield source, Record({of_lines.keys[0]: value}, line)
            continue
        if not source.has_records:
            raise ConfigError(
                f"{where}={show(name_sources(names))}: {source.scheme} holds no "
                f"labels. Write one of {', '.join(HOLD_RECORDS)}."
            )
        for part in source.find_files(style):
            for record in source.read_records(part, style):
                yield source, _in_folder(record, style.image_dir)


def _in_folder(record: Record | BadDocument, folder: str) -> Record | BadDocument:
    """Returns a record whose images are in a folder, if there is one."""
    if not folder or isinstance(record, BadDocument) or record.folder:
        return record
    return dataclasses.replace(record, folder=folder)


def _make(
    record: Record | BadDocument, columns: list[Column], *, keep_record: bool = False
) -> Example | BadDocument:
    """Returns the example of a record, or what is wrong with it."""
    if isinstance(record, BadDocument):
        return record
    values = {}
    for column in columns:
        if column.is_optional and not record.has(column.keys[0]):
            continue
        value = find_kind(column.kind).read(record, column.keys)
        if isinstance(value, BadDocument):
            return value
        if bad := check_whole(record, column.keys[0], value):
            return bad
        values[column.name] = value
    line, kept = record.line, _keep(record) if keep_record else {}
    return Example(values, line.path, line.number, kept, line.unit)


def _keep(record: Record) -> dict[Any, Any]:
    """Returns the fields of a record, but for the pixels of images."""
    return {
        name: value
        for name, value in record.values.items()
        if not (isinstance(value, np.ndarray) and value.ndim > 1)
    }


def _with_group(
    example: Example, record: Record, group_field: str
) -> Example | BadDocument:
    """Returns an example with its group, or what is wrong with that."""
    number = int(group_field) if group_field.isdecimal() else None
    value = record.get(group_field)
    if isinstance(value, BadDocument) and number is not None:
        value = record.get(number)
    if isinstance(value, BadDocument):
        return value
    if value is None or value == "" or isinstance(value, list | dict):
        problem = f"field {show(group_field)} is {show(value)}, not a group."
        return record.line.bad("wrong_type", problem)
    if bad := check_whole(record, group_field, value):
        return bad
    return dataclasses.replace(example, group=str(value))
