"""Records of files: what they are, and those of JSON lines."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from slimjax.errors import suggest
from slimjax.text.encodings import UTF8
from slimjax.text.files import show
from slimjax.text.reading import BadDocument, Line, make_empty, read_lines

_LINES_HINT = "Write one object per line, no [ ] and no commas between them"
_ARRAY_HINT = f"{_LINES_HINT}: jq -c '.[]' FILE > NEW_FILE."


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
        tfds_dir: Where data sets of TensorFlow Datasets are; "" for ``TFDS_DATA_DIR``.
        split: Which split of such a data set is read: ``train``, ``valid``, ``test``.
        image_dir: Folder of the images that records name; "" for that of the file.
    """

    encoding: str = UTF8
    header: bool = True
    delimiter: str = ""
    quote: str = '"'
    tfds_dir: str = ""
    split: str = "train"
    image_dir: str = ""


DEFAULT_FORMAT = Format()


@dataclasses.dataclass(frozen=True)
class Record:
    """One record of a file.

    Attributes:
        values: Its values by the file's own names; columns of a table without a header
            are called 0, 1, ...
        line: The line that it begins at.
        folder: Folder of the images that it names; "" for that of the file.
        is_listed: Whether they were found in that folder, so that links may lead
            anywhere.
        is_row: Whether it is a row of a table, all of whose values are texts.
        is_own: Whether it is what a person gives, not what a file holds, so that paths
            may be whole ones.
    """

    values: dict[Any, Any]
    line: Line
    folder: str = ""
    is_listed: bool = False
    is_row: bool = False
    is_own: bool = False

    def has(self, name: Any) -> bool:
        """Returns whether there is a value of this name, or at this place."""
        if name in self.values or str(name) in self.values:
            return True
        return isinstance(name, int) and name < len(self.values)

    def find_missing(self, names: Iterable[Any]) -> BadDocument | None:
        """Returns what is wrong if a value of these names is missing, or None."""
        found = (self.get(name) for name in names if not self.has(name))
        return next((value for value in found if isinstance(value, BadDocument)), None)

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

    def unfold(self, name: Any) -> "Record":
        """Returns the record with a list in place of a cell that is one in JSON.

        Its parts must be texts or objects; other cells, and what is no row of a table,
        stay as they are.

        Examples:
            >>> line = Line("", 1, "a.csv")
            >>> Record({"x": '["a", "b"]'}, line, is_row=True).unfold("x").get("x")
            ['a', 'b']
            >>> Record({"x": "[1] a"}, line, is_row=True).unfold("x").get("x")
            '[1] a'
        """
        value = self.get(name) if self.is_row else None
        if not isinstance(value, str) or not value.lstrip().startswith("["):
            return self
        try:
            parts = json.loads(value)
        except (ValueError, RecursionError):
            return self
        if not any(all(isinstance(p, kind) for p in parts) for kind in (str, dict)):
            return self
        return dataclasses.replace(self, values={**self.values, name: parts})


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
        why = str(error)
        if isinstance(error, json.JSONDecodeError):
            why = f"{error.msg}, column {error.colno}"
        return line.bad("broken_json", f"is not JSON: {show(why)}.")
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
