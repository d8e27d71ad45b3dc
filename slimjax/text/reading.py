"""Decoding pieces of a file; what is bad is returned with its place, not raised.

A reader yields a `BadDocument` where text cannot be read, and goes on behind it;
whether that ends everything or is only counted is the choice of its caller.
"""

import dataclasses
from collections.abc import Iterator

from slimjax.text.encodings import explain
from slimjax.text.files import BOM, READ_ERRORS, open_bytes, show

MAX_LINE_BYTES = 1 << 26
"""A longer line is taken for a mistake."""

NO_HEADER = "no_header"
"""Why a table is bad whose first line does not name its columns."""

NO_FIELD = "no_field"
"""Why a data set is bad none of whose examples has a field."""

OF_WHOLE_FILES = (NO_HEADER, NO_FIELD)
"""Reasons that are about all records of a file, so that none can be skipped."""

HEAD_BYTES = 4096
"""Bytes of a file by which it is recognised as no text."""


_MIXED = "Lines before it are UTF-8: the file mixes encodings. Convert this line."


@dataclasses.dataclass(frozen=True)
class BadDocument:
    """What stands in a stream for text that cannot be read.

    Attributes:
        reason: One word, by which documents are counted.
        message: What is wrong, with file and line.
        path: The file.
    """

    reason: str
    message: str
    path: str


@dataclasses.dataclass(frozen=True)
class Line:
    r"""A line of a file.

    Attributes:
        text: Its content, without the byte order mark and without its end.
        number: Its number, from 1.
        path: The file.
        unit: What `number` counts, where a file has no lines to name.
        end: How it ends: ``\n``, or ``\r\n``.
    """

    text: str
    number: int
    path: str
    unit: str = "line"
    end: str = "\n"

    @property
    def where(self) -> str:
        """File and number, for messages."""
        return f"{show(self.path)}, {self.unit} {self.number}"

    def bad(self, reason: str, problem: str) -> BadDocument:
        """Returns what to yield in place of the line."""
        return BadDocument(reason, f"{self.where} {problem}", self.path)


def read_lines(path: str, encoding: str) -> Iterator[Line | BadDocument]:
    r"""Yields the lines of a file, which end at ``\n`` or ``\r\n`` and nothing else."""
    offset, number, is_utf8 = 0, 0, False
    try:
        with open_bytes(path, encoding) as file:
            while data := file.readline(MAX_LINE_BYTES):
                number += 1
                if len(data) >= MAX_LINE_BYTES:
                    message = f"{show(path)}, line {number} is over {MAX_LINE_BYTES}"
                    yield BadDocument("too_long", f"{message} bytes.", path)
                    _skip_line(file, data)
                else:
                    text = decode(data, path, number, offset, is_utf8=is_utf8)
                    yield _strip(text, number, path) if isinstance(text, str) else text
                    is_utf8 |= isinstance(text, str) and not data.isascii()
                offset += len(data)
    except READ_ERRORS as error:
        yield make_unreadable(path, error)
        return
    if number == 0:
        yield make_empty(path)


def decode(
    data: bytes, path: str, line: int, offset: int, *, is_utf8: bool = False
) -> str | BadDocument:
    """Returns the text of UTF-8 bytes that begin at a line and an offset of a file.

    Args:
        data: The bytes.
        path: The file.
        line: Number of the line at which they begin.
        offset: The bytes before them.
        is_utf8: Whether signs beyond ASCII before them were UTF-8.
    """
    if offset == 0 and data[:HEAD_BYTES].count(0) > len(data[:HEAD_BYTES]) / 4:
        hint = explain(data[:HEAD_BYTES])  # Zeros are UTF-8, but no text has so many.
        problem = "line 1: more than a quarter of its bytes are zero"
        return BadDocument("not_utf8", f"{show(path)}, {problem}. {hint}", path)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        place = f"{show(path)}, line {line}, byte offset {offset + error.start}"
        bad = f"0x{data[error.start]:02x} is not UTF-8"
        near = data if offset == 0 else data[max(error.start - 2048, 0) :]
        hint = _MIXED if is_utf8 else explain(near)
        return BadDocument("not_utf8", f"{place}: {bad}. {hint}", path)


def make_empty(path: str) -> BadDocument:
    """Returns what to yield for a file that holds nothing."""
    return BadDocument("empty", f"{show(path)}, line 1: the file is empty.", path)


def make_unreadable(path: str, error: Exception) -> BadDocument:
    """Returns what to yield for a file whose reading has failed."""
    reason = "broken_gzip" if path.endswith(".gz") else "unreadable"
    reason = "not_decoded" if isinstance(error, UnicodeError) else reason
    message = f"{show(path)} cannot be read: {show(str(error))}."
    return BadDocument(reason, message, path)


def _strip(text: str, number: int, path: str) -> Line:
    if number == 1:
        text = text.removeprefix(BOM.decode())
    end = "\r\n" if text.endswith("\r\n") else "\n"
    return Line(text.removesuffix("\n").removesuffix("\r"), number, path, end=end)


def _skip_line(file, data: bytes) -> None:
    while data and not data.endswith(b"\n"):
        data = file.readline(MAX_LINE_BYTES)
