"""Where text comes from: a source is a word, its documents a stream.

    stdlib               the .py files of the standard library, without its tests
    text:GLOB            text files, UTF-8, plain or .gz
    jsonl:GLOB#field     one JSON object a line, its text under `field`; plain or .gz

A file or record longer than 64 kB is cut into documents at blank lines; nothing is
ever held in memory as a whole.
"""

import contextlib
import dataclasses
import os
from collections import Counter
from collections.abc import Iterator

from slimjax.errors import ConfigError, DataError, suggest
from slimjax.text.documents import read_lines, read_records, read_text
from slimjax.text.files import (
    READ_ERRORS,
    count_bytes,
    find_files,
    find_library_files,
    open_bytes,
    show,
)

MAX_DOCUMENT_BYTES = 1 << 16
MIN_DOCUMENT_BYTES = 1 << 10
FEW_DOCUMENTS = 100
SCHEMES = ("stdlib", "text", "jsonl")


@dataclasses.dataclass(frozen=True)
class Source:
    """A source taken apart: ``jsonl:logs/*.gz#text`` has all three parts."""

    scheme: str
    pattern: str = ""
    field: str = ""

    def find_files(self) -> list[str]:
        """Returns the paths of the source's files, in a fixed order."""
        if self.scheme == "stdlib":
            return find_library_files()
        return find_files(self.pattern)


def parse_source(text: str) -> Source:
    """Takes a source apart, without touching the disk.

    Raises:
        ConfigError: If it is not a source.

    Examples:
        >>> parse_source("jsonl:logs/*.gz#text")
        Source(scheme='jsonl', pattern='logs/*.gz', field='text')
    """
    where = f"config.data.source={show(text)}"
    if not isinstance(text, str) or not text:
        raise ConfigError(f"{where} is not a source. Write stdlib, text:GLOB, ...")
    if "," in text:
        raise ConfigError(f"{where} has a comma. Name one source, or use a glob.")
    scheme, _, pattern = text.partition(":")
    if scheme not in SCHEMES:
        raise ConfigError(f"{where} is not a known source. {_suggest(text, scheme)}")
    if scheme == "stdlib":
        if text != "stdlib":
            raise ConfigError(f"{where} takes no argument. Write stdlib.")
        return Source("stdlib")
    if scheme == "text" and not pattern:
        raise ConfigError(f"{where} names no files. Write text:GLOB.")
    if scheme == "text":
        return Source(scheme, pattern)
    pattern, _, field = pattern.rpartition("#")
    if not (pattern and field):
        raise ConfigError(f"{where} names no field. Write jsonl:GLOB#field.")
    return Source(scheme, pattern, field)


def choose_document_bytes(source: str) -> int:
    """Returns the size from which text is cut into documents, for `cut_bytes`.

    It is 64 kB, as a rule. A corpus of fewer than 100 documents is cut finer, so that
    each split gets its share: to a 200th of the whole, but not below 1 kB.
    """
    parsed = parse_source(source)
    enough = 200 * MAX_DOCUMENT_BYTES
    num_bytes = num_documents = 0
    for path in parsed.find_files():
        is_records = parsed.scheme == "jsonl"
        num_units = _count_lines(path, FEW_DOCUMENTS) if is_records else 1
        size = count_bytes(path, enough)
        num_documents += max(num_units, size // MAX_DOCUMENT_BYTES)
        num_bytes += size
        if num_documents >= FEW_DOCUMENTS or num_bytes >= enough:
            return MAX_DOCUMENT_BYTES
    return max(MIN_DOCUMENT_BYTES, num_bytes // 200)


def guess_bytes(source: str) -> int:
    """Returns roughly how much text a source holds: right to a factor, for a bar."""
    total = 1
    for path in parse_source(source).find_files():
        with contextlib.suppress(OSError):
            total += os.path.getsize(path) * (4 if path.endswith(".gz") else 1)
    return total


def iterate_documents(
    source: str,
    *,
    max_bytes: int = MAX_DOCUMENT_BYTES,
    on_bad_document: str = "error",
    skipped: Counter[str] | None = None,
) -> Iterator[str]:
    """Yields the documents of a source, in the order of its files' paths.

    Args:
        source: ``stdlib``, ``text:GLOB`` or ``jsonl:GLOB#field``.
        max_bytes: Longer text is cut, at blank lines where there are some.
        on_bad_document: ``error``, or ``skip``; the standard library always skips.
        skipped: Counts what was skipped, by reason.

    Raises:
        DataError: If there is no such file, or if a document is bad.
    """
    parsed = parse_source(source)
    skip = on_bad_document == "skip" or parsed.scheme == "stdlib"
    for path in parsed.find_files():
        if parsed.scheme == "jsonl":
            documents = read_records(path, parsed.field, max_bytes)
        else:
            documents = read_text(path, max_bytes)
        for document in documents:
            if isinstance(document, str):
                yield document
            elif not skip:
                raise DataError(document.message)
            elif skipped is not None:
                skipped[document.reason] += 1


def _count_lines(path: str, limit: int) -> int:
    """Returns the number of lines, counted up to `limit`."""
    try:
        with open_bytes(path) as file:
            return sum(1 for _, _ in zip(range(limit), read_lines(file), strict=False))
    except READ_ERRORS:
        return 0


def _suggest(text: str, scheme: str) -> str:
    if ":" not in text and any(sign in text for sign in "/.*"):
        return f"Write text:{show(text)}."
    return suggest(scheme, SCHEMES)
