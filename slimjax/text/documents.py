"""Reading one file as documents: plain text, or a field of each of its records."""

from collections.abc import Iterator
from typing import Any

from slimjax.text.cutting import cut_bytes, cut_text
from slimjax.text.files import BOM, READ_ERRORS, read_blocks, show
from slimjax.text.reading import BadDocument, decode, make_empty, make_unreadable
from slimjax.text.records import Record


def read_text(path: str, encoding: str, max_bytes: int) -> Iterator[str | BadDocument]:
    """Yields one document a file, or several where it is longer than `max_bytes`."""
    line, offset = 1, 0
    try:
        for part in cut_bytes(read_blocks(path, encoding), max_bytes):
            text = decode(part, path, line, offset)
            if offset == 0 and isinstance(text, str):
                text = text.removeprefix(BOM.decode()) or make_empty(path)
            yield text
            line, offset = line + part.count(b"\n"), offset + len(part)
    except READ_ERRORS as error:
        yield make_unreadable(path, error)
        return
    if offset == 0:
        yield make_empty(path)


def text_of(record: Record, field: Any) -> str | BadDocument:
    """Returns the text under a field of a record."""
    value = record.get(field)
    if isinstance(value, BadDocument):
        return value
    name = f"field {show(str(field))}"
    if not isinstance(value, str):
        kind = "null" if value is None else type(value).__name__
        return record.line.bad("not_text", f"{name} is {kind}, not text.")
    if not value:
        return record.line.bad("empty", f"{name} is empty.")
    return check_whole(record, field, value) or value


def check_whole(record: Record, field: Any, value: Any) -> BadDocument | None:
    """Returns what is wrong if a value under a field holds half a character, or None.

    Args:
        record: Where the value is from.
        field: Its name there.
        value: As `find_half` takes it.
    """
    half = find_half(value)
    if not half:
        return None
    problem = f"field {show(str(field))} holds half a character, {half!a}."
    return record.line.bad("not_utf8", problem)


def find_half(value: Any) -> str:
    r"""Returns the first half of a character (a lone surrogate), or "".

    Args:
        value: A text, or a list that has texts in it.

    Examples:
        >>> find_half(("whole", ("a", "b\ud800"))) == "\ud800", find_half("whole")
        (True, '')
    """
    if isinstance(value, list | tuple):
        return next(filter(None, map(find_half, value)), "")
    if not isinstance(value, str):
        return ""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return value[error.start]
    return ""


def read_field(
    records: Iterator[Record | BadDocument], field: Any, max_bytes: int
) -> Iterator[str | BadDocument]:
    """Yields the text of each record, in parts where it is longer than `max_bytes`."""
    for record in records:
        text = record if isinstance(record, BadDocument) else text_of(record, field)
        if isinstance(text, str):
            yield from cut_text(text, max_bytes)
        else:
            yield text
