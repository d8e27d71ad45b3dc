"""Reading files of records: JSON lines, and tables of CSV or TSV."""

import csv
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from slimjax.errors import suggest
from slimjax.text.encodings import UTF8
from slimjax.text.files import show
from slimjax.text.reading import (
    MAX_LINE_BYTES,
    BadDocument,
    Line,
    make_empty,
    read_lines,
)

_LINES_HINT = "Write one object per line, no [ ] and no commas between them"
_ARRAY_HINT = f"{_LINES_HINT}: jq -c '.[]' FILE > NEW_FILE."
# A carriage return inside a line, which the csv module would take for the line's end.
_RETURN, _STAND_IN = "\r", "\ufdd0"


@dataclasses.dataclass(frozen=True)
class Format:
    r"""How files are to be read.

    Attributes:
        encoding: A name that Python knows, such as ``gb18030``.
        header: Whether the first row of a table names its columns.
        delimiter: What separates columns; by default a tab in files whose names end in
            ``.tsv`` or ``.tab`` (or that and ``.gz``), else a comma.
        quote: The sign around values of a table that hold a delimiter or a line's end;
            ``""`` if no sign has this meaning.
    """

    encoding: str = UTF8
    header: bool = True
    delimiter: str = ""
    quote: str = '"'


DEFAULT_FORMAT = Format()


@dataclasses.dataclass(frozen=True)
class Record:
    """One record of a file.

    Attributes:
        values: Its values by the file's own names; columns of a table without a header
            are called 0, 1, ...
        line: The line that it begins at.
    """

    values: dict[Any, Any]
    line: Line

    def has(self, name: Any) -> bool:
        """Returns whether there is a value of this name, or at this place."""
        if name in self.values or str(name) in self.values:
            return True
        return isinstance(name, int) and name < len(self.values)

    def get(self, name: Any) -> Any:
        """Returns a value by its name or its place.

        What is missing gives a `BadDocument` that offers the nearest name.
        """
        for known in (name, str(name)):
            if known in self.values:
                return self.values[known]
        names = [str(known) for known in self.values]
        if isinstance(name, int):
            if name < len(names):
                return list(self.values.values())[name]
            known = f"It has columns 0 to {len(names) - 1}."
            return self.line.bad("missing_field", f"has no column {name}. {known}")
        shown = [*names[:20], "..."] if len(names) > 20 else names
        close = suggest(str(name), names)
        hint = close if close.startswith("Did") else suggest("", shown)
        problem = f"has no field {show(name)}. {show(hint)}"
        return self.line.bad("missing_field", problem)


def read_json_lines(path: str, style: Format) -> Iterator[Record | BadDocument]:
    """Yields one record for each line that is not blank."""
    num_records = 0
    for line in read_lines(path, style.encoding):
        if isinstance(line, BadDocument):
            num_records += 1
            yield line
        elif line.text.strip():
            num_records += 1
            yield _parse(line, is_first=num_records == 1)
    if num_records == 0:
        yield make_empty(path)


def read_table(path: str, style: Format) -> Iterator[Record | BadDocument]:
    """Yields one record for each row of a table that is not blank."""
    lines = _Lines(path, style.encoding)
    names: list[Any] | None = None
    for row in _read_rows(lines, path, style):
        if isinstance(row, BadDocument):
            yield row
        elif names is None and style.header:
            names = [name.strip() for name in row]
            if len(set(names)) < len(names):
                name = max(names, key=names.count)
                problem = f"names the column {show(name)} twice."
                yield lines.first().bad("broken_csv", problem)
                return
        else:
            names = names or list(range(len(row)))
            yield _to_record(row, names, lines.first())
    if lines.is_empty:
        yield make_empty(path)


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
            return line.text.replace(_RETURN, _STAND_IN) + "\n"
        raise StopIteration

    def first(self) -> Line:
        return self.start or Line("", 1, self._path)

    def take_bad(self) -> list[BadDocument]:
        found, self._bad = self._bad, []
        return found


def _parse(line: Line, *, is_first: bool) -> Record | BadDocument:
    text = line.text.strip()
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        if is_first and text.startswith("["):
            return line.bad("broken_json", f"begins a JSON array. {_ARRAY_HINT}")
        if text.endswith(",") and _is_json(text[:-1]):
            return line.bad("broken_json", f"ends in a comma. {_LINES_HINT}.")
        if is_first and text == "{":
            return line.bad("broken_json", f"is only the start of one. {_LINES_HINT}.")
        return line.bad("broken_json", f"is not JSON: {show(str(error))}.")
    if isinstance(values, dict):
        return Record(values, line)
    hint = _ARRAY_HINT if isinstance(values, list) else f"{_LINES_HINT}."
    kind = {"list": "an array", "str": "a string"}.get(type(values).__name__, text)
    return line.bad("missing_field", f"is {show(kind)}, not an object. {hint}")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _delimiter_of(path: str) -> str:
    name = path.lower().removesuffix(".gz")
    return "\t" if name.endswith((".tsv", ".tab")) else ","


def _to_record(row: list[str], names: list[Any], line: Line) -> Record | BadDocument:
    if len(row) == len(names):
        return Record(dict(zip(names, row, strict=True)), line)
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
