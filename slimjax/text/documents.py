"""Reading one file as documents: text, or JSON lines; what is bad is said, not raised.

A reader yields a `BadDocument` where text cannot be read, and goes on behind it;
whether that ends everything or is only counted is the caller's choice.
"""

import dataclasses
import json
from collections.abc import Iterator
from io import BufferedIOBase

from slimjax.errors import suggest
from slimjax.text.cutting import cut_bytes, cut_text
from slimjax.text.files import BOM, READ_ERRORS, open_bytes, read_blocks, show

MAX_RECORD_BYTES = 1 << 26  # A longer line of JSON is taken for a mistake.
_SKIP_HINT = "Mend it, or set config.data.on_bad_document=skip"


@dataclasses.dataclass(frozen=True)
class BadDocument:
    """What stands in the stream for text that cannot be read."""

    reason: str
    message: str


def read_text(path: str, max_bytes: int) -> Iterator[str | BadDocument]:
    """Yields one document a file, or several where it is longer than `max_bytes`."""
    line, offset = 1, 0
    try:
        for part in cut_bytes(read_blocks(path), max_bytes):
            text = _decode(part, path, line, offset)
            if offset == 0 and isinstance(text, str):
                text = text.removeprefix("\ufeff") or _make_empty(path)
            yield text
            line, offset = line + part.count(b"\n"), offset + len(part)
    except READ_ERRORS as error:
        yield _make_unreadable(path, error)
        return
    if offset == 0:
        yield _make_empty(path)


def read_records(path: str, field: str, max_bytes: int) -> Iterator[str | BadDocument]:
    """Yields one document a line, or several where it is longer than `max_bytes`."""
    num_records, offset = 0, 0
    try:
        with open_bytes(path) as file:
            for number, line in enumerate(read_lines(file), 1):
                content = line.removeprefix(BOM) if number == 1 else line
                if content.strip():
                    num_records += 1
                    text = _read_field(content, path, number, offset, field)
                    if isinstance(text, str):
                        yield from cut_text(text, max_bytes)
                    else:
                        yield text
                offset += len(line)
    except READ_ERRORS as error:
        yield _make_unreadable(path, error)
        return
    if num_records == 0:
        yield _make_empty(path)


def _read_field(
    line: bytes, path: str, number: int, offset: int, field: str
) -> str | BadDocument:
    text = _decode(line, path, number, offset)
    if isinstance(text, BadDocument):
        return text
    where = f"{show(path)}, line {number}"
    if len(line) >= MAX_RECORD_BYTES:
        return BadDocument("too_long", f"{where} is over {MAX_RECORD_BYTES} bytes.")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"{where} is not JSON: {show(str(error))}. {_SKIP_HINT}."
        return BadDocument("broken_json", message)
    if not isinstance(record, dict) or field not in record:
        names = list(record)[:10] if isinstance(record, dict) else []
        hint = show(suggest(field, names)) if names else "It is not an object."
        message = f"{where} has no field {show(field)}. {hint} {_SKIP_HINT}."
        return BadDocument("missing_field", message)
    return _check_text(record[field], f"{where}, field {show(field)},")


def _check_text(value: object, where: str) -> str | BadDocument:
    if not isinstance(value, str):
        kind = type(value).__name__
        return BadDocument("not_text", f"{where} is {kind}, not text. {_SKIP_HINT}.")
    if not value:
        return BadDocument("empty", f"{where} is empty. {_SKIP_HINT}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"half a character, {value[error.start]!a}"
        return BadDocument("not_utf8", f"{where} holds {half}. {_SKIP_HINT}.")
    return value


def _decode(data: bytes, path: str, line: int, offset: int) -> str | BadDocument:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        place = f"{show(path)}, line {line}, byte offset {offset + error.start}"
        bad = f"0x{data[error.start]:02x} is not UTF-8"
        return BadDocument("not_utf8", f"{place}: {bad}. {_SKIP_HINT}.")


def _make_empty(path: str) -> BadDocument:
    return BadDocument("empty", f"{show(path)}, line 1: is empty. {_SKIP_HINT}.")


def _make_unreadable(path: str, error: Exception) -> BadDocument:
    reason = "broken_gzip" if path.endswith(".gz") else "unreadable"
    message = f"{show(path)} cannot be read: {show(str(error))}. {_SKIP_HINT}."
    return BadDocument(reason, message)


def read_lines(file: BufferedIOBase) -> Iterator[bytes]:
    """Yields the lines of a file, none of them longer than `MAX_RECORD_BYTES`."""
    while line := file.readline(MAX_RECORD_BYTES):
        yield line
