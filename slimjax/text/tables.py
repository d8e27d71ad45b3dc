"""Records of tables: CSV and TSV, by the names of a header or by numbers."""

import csv
import dataclasses
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from slimjax.text.files import show
from slimjax.text.reading import (
    MAX_LINE_BYTES,
    NO_HEADER,
    BadDocument,
    Line,
    make_empty,
    read_lines,
)
from slimjax.text.records import Format, Record

NUM_COMPARED = 100
"""Rows that are compared with the first line, to see whether it is a header."""
_NAMES = {"id", "text", "label", "sentence", "source", "target", "question", "tokens"}
_WORD = re.compile(r"[^\W\d][\w-]*")
# A carriage return inside a line, which the csv module would take for the line's end.
_RETURN, _STAND_IN = "\r", "\ufdd0"
_REMEDY = (
    "If the first line is an example, set config.data.header=False and number the "
    "columns in config.data.fields."
)


def read_table(path: str, style: Format) -> Iterator[Record | BadDocument]:
    """Yields one record for each row of a table that is not blank.

    A first line that seems to be an example, not a header, is bad, and ends the file.
    """
    lines = _Lines(path, style.encoding)
    records = _name_rows(lines, path, style)
    if style.header:
        head = list(itertools.islice(records, NUM_COMPARED))
        bad = _find_first(head)
        if bad is not None:
            yield bad
            return
        yield from head
    yield from records
    if lines.is_empty:
        yield make_empty(path)


def find_no_header(
    path: str, style: Format, needed: Iterable[str | int] = ()
) -> BadDocument | None:
    """Returns what is wrong if the first line names no columns, or not those needed.

    Args:
        path: The file.
        style: How it is read.
        needed: Columns that each row must have.
    """
    if not style.header:
        return None
    records = _name_rows(_Lines(path, style.encoding), path, style)
    head = list(itertools.islice(records, NUM_COMPARED))
    bad = _find_first(head)
    first = next((record for record in head if isinstance(record, Record)), None)
    if bad is not None or first is None:
        return bad
    bad = first.find_missing(needed)
    if bad is None:
        return None
    return dataclasses.replace(
        bad, reason=NO_HEADER, message=f"{bad.message} {_REMEDY}"
    )


def _find_first(head: Sequence[Record | BadDocument]) -> BadDocument | None:
    """Returns what is wrong if the first rows of a table show no header, or None."""
    records = [record for record in head if isinstance(record, Record)]
    is_sure = any(_is_name(name, records) for name in _names_of(records))
    found = (_find_no_header(record, is_sure=is_sure) for record in head)
    return next(filter(None, found), None)


def _names_of(records: Sequence[Record]) -> list[str]:
    return [str(name) for name in records[0].values] if records else []


def _is_name(name: str, records: Sequence[Record]) -> bool:
    """Returns whether the first line must be a header because of one of its names.

    It is a name that examples often have, or a word above values that are none.
    """
    if name.lower() in _NAMES:
        return True
    values = [str(record.values[name]) for record in records]
    others = [v for v in values if v.strip() and not _WORD.fullmatch(v.strip())]
    return bool(_WORD.fullmatch(name)) and 2 * len(others) > len(values)


def _name_rows(
    lines: "_Lines", path: str, style: Format
) -> Iterator[Record | BadDocument]:
    """Yields the rows of a table by the names of their columns."""
    names: list[Any] | None = None
    for row in _read_rows(lines, path, style):
        if isinstance(row, BadDocument):
            yield row
        elif names is None and style.header:
            names = [name.strip() for name in row]
            if len(set(names)) < len(names):
                name = max(names, key=names.count)
                problem = f"names the column {show(name)} twice. {_REMEDY}"
                yield lines.first().bad(NO_HEADER, problem)
                return
        else:
            names = names or list(range(len(row)))
            yield _to_record(row, names, lines.first())


def _find_no_header(
    record: Record | BadDocument, *, is_sure: bool
) -> BadDocument | None:
    """Returns what is wrong if the names of columns seem to be values, or None.

    Args:
        record: One of the first rows.
        is_sure: Whether the first line is a header, though a value equals a name.
    """
    if isinstance(record, BadDocument):
        return record if record.reason == NO_HEADER else None
    if list(record.values) == [str(i) for i in range(len(record.values))]:
        return None  # A table that pandas numbered.
    for name, value in record.values.items():
        if name and name == value.strip() and not is_sure:
            problem = f"has {show(name)} in the column that the first line calls so."
        elif _is_fraction(name):
            problem = f"has a column that the first line calls {show(name)}."
        else:
            continue
        return record.line.bad(NO_HEADER, f"{problem} {_REMEDY}")
    return None


def _is_fraction(name: str) -> bool:
    """Returns whether a name is a number that counts nothing, such as -1 or 0.5."""
    try:
        return math.isfinite(float(name)) and not name.isdecimal()
    except ValueError:
        return False


def _read_rows(
    lines: "_Lines", path: str, style: Format
) -> Iterator[list[str] | BadDocument]:
    """Yields the rows of a table, and what is wrong in place of those that are bad."""
    options: Any = {
        "delimiter": style.delimiter or _delimiter_of(path),
        "quotechar": style.quote or None,
        "quoting": csv.QUOTE_MINIMAL if style.quote else csv.QUOTE_NONE,
        "strict": True,
    }
    csv.field_size_limit(MAX_LINE_BYTES)  # It holds for all readers of the process.
    reader = csv.reader(lines, **options)
    while True:
        lines.start = None
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield lines.first().bad("broken_csv", f"is not a row: {_why(error)}")
            continue
        yield from lines.take_bad()
        if row is None:
            return
        if row and lines.has_returns:
            row = [value.replace(_STAND_IN, _RETURN) for value in row]
        if row:  # Else it was a blank line.
            yield row


class _Lines:
    """The lines of a file for the csv module, which takes no account of their places.

    Attributes:
        start: The first line of the row that is being read.
        is_empty: Whether no line has held anything so far.
        has_returns: Whether a line has held a carriage return so far.
    """

    def __init__(self, path: str, encoding: str):
        self._lines = read_lines(path, encoding)
        self._bad: list[BadDocument] = []
        self._path = path
        self.start: Line | None = None
        self.is_empty, self.has_returns = True, False

    def __iter__(self):
        return self

    def __next__(self) -> str:
        for line in self._lines:
            if isinstance(line, BadDocument):
                self.is_empty = False
                self._bad.append(line)
                continue
            self.start = self.start or line
            self.is_empty = self.is_empty and not line.text.strip()
            self.has_returns = self.has_returns or _RETURN in line.text
            return line.text.replace(_RETURN, _STAND_IN) + line.end
        raise StopIteration

    def first(self) -> Line:
        return self.start or Line("", 1, self._path)

    def take_bad(self) -> list[BadDocument]:
        found, self._bad = self._bad, []
        return found


def _delimiter_of(path: str) -> str:
    name = path.lower().removesuffix(".gz")
    return "\t" if name.endswith((".tsv", ".tab")) else ","


def _to_record(row: list[str], names: list[Any], line: Line) -> Record | BadDocument:
    if len(row) == len(names):
        return Record(dict(zip(names, row, strict=True)), line, is_row=True)
    first = "the first row" if names[:1] == [0] else "the header"
    problem = f"has {len(row)} columns, {first} {len(names)}."
    if len(row) > len(names):
        problem += ' Put values that hold the separator in quotes (").'
    return line.bad("wrong_columns", problem)


def _why(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        return (
            'a quote (") that opens there is never closed. Write "" for a quote inside '
            'quotes, or set config.data.quote="" if none has a meaning.'
        )
    if "expected after" in text:
        return (
            'text follows a closing quote ("). Write "" for a quote inside quotes, or '
            'set config.data.quote="" if none has a meaning.'
        )
    return f"{show(text)}."
