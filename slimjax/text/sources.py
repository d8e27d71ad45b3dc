"""Where text comes from: a source is a word, its documents a stream.

    stdlib               the .py files of the standard library, without its tests
    text:GLOB            text files, plain or .gz
    jsonl:GLOB#field     one JSON object a line, its text under `field`; plain or .gz
    csv:GLOB#column      tables with commas, or tabs in .tsv and .tab; plain or .gz

Without ``#field`` the field is what ``config.data.fields`` names. A list of sources is
read in turn; so is a text such as ``text:a.txt,text:b.txt``. Any other comma is part
of a name. A file or record longer than 64 kB is cut into documents at blank lines;
nothing is ever held in memory as a whole.
"""

import contextlib
import dataclasses
import itertools
import os
import re
from collections.abc import Iterator, Sequence

from slimjax.errors import ConfigError, DataError, suggest
from slimjax.text.documents import read_field, read_text
from slimjax.text.files import (
    READ_ERRORS,
    count_bytes,
    find_files,
    find_library_files,
    open_bytes,
    show,
)
from slimjax.text.reading import BadDocument
from slimjax.text.records import (
    DEFAULT_FORMAT,
    Format,
    Record,
    read_json_lines,
    read_table,
)
from slimjax.text.skips import Skips

MAX_DOCUMENT_BYTES = 1 << 16
MIN_DOCUMENT_BYTES = 1 << 10
FEW_DOCUMENTS = 100
SCHEMES = ("stdlib", "text", "jsonl", "csv", "idx")
_NEXT_SOURCE = re.compile(rf",(?=(?:{'|'.join(SCHEMES)}):|stdlib$|stdlib,)")

Names = str | Sequence[str]


@dataclasses.dataclass(frozen=True)
class Source:
    """A source taken apart: ``jsonl:logs/*.gz#text`` has all three parts."""

    scheme: str
    pattern: str = ""
    field: str = ""

    @property
    def has_records(self) -> bool:
        """Whether its files hold records, each with fields."""
        return self.scheme in ("jsonl", "csv")

    def find_files(self) -> list[str]:
        """Returns the paths of the source's files, in a fixed order."""
        if self.scheme == "stdlib":
            return find_library_files()
        return find_files(self.pattern)

    def read_records(self, path: str, style: Format) -> Iterator[Record | BadDocument]:
        """Yields the records of one of its files."""
        read = read_json_lines if self.scheme == "jsonl" else read_table
        return read(path, style)


def parse_sources(names: Names, where: str = "config.data.source") -> list[Source]:
    """Takes one source or several apart, without touching the disk.

    Args:
        names: One text, which may hold several sources with commas between them, or a
            list with one source each.
        where: The setting, for messages.

    Raises:
        ConfigError: If one of them is not a source.

    Examples:
        >>> parse_sources("text:a,b.txt,jsonl:logs/*.gz#text")
        ... # doctest: +NORMALIZE_WHITESPACE
        [Source(scheme='text', pattern='a,b.txt', field=''),
         Source(scheme='jsonl', pattern='logs/*.gz', field='text')]
    """
    if isinstance(names, str):
        names = _NEXT_SOURCE.split(names)
    if not isinstance(names, list | tuple) or not names:
        raise ConfigError(f"{where}={show(names)} is not a source. Write text:GLOB.")
    return [parse_source(name, where) for name in names]


def parse_source(text: str, where: str = "config.data.source") -> Source:
    """Takes one source apart, without touching the disk.

    Raises:
        ConfigError: If it is not a source.
    """
    where = f"{where}={show(text)}"
    if not isinstance(text, str) or not text:
        raise ConfigError(f"{where} is not a source. Write stdlib, text:GLOB, ...")
    scheme, _, pattern = text.partition(":")
    if scheme not in SCHEMES:
        raise ConfigError(f"{where} is not a known source. {_suggest(text, scheme)}")
    if scheme == "stdlib":
        if text != "stdlib":
            raise ConfigError(f"{where} takes no argument. Write stdlib.")
        return Source("stdlib")
    field = ""
    if scheme in ("jsonl", "csv") and "#" in pattern:
        pattern, _, field = pattern.rpartition("#")
    if not pattern:
        part = "DIR" if scheme == "idx" else "GLOB"
        raise ConfigError(f"{where} names no files. Write {scheme}:{part}.")
    return Source(scheme, pattern, field)


def name_sources(names: Names) -> str:
    """Returns sources as one text, for messages and reports."""
    return names if isinstance(names, str) else ", ".join(names)


def choose_document_bytes(source: Names) -> int:
    """Returns the size from which text is cut into documents, for `cut_bytes`.

    It is 64 kB, as a rule. A corpus of fewer than 100 documents is cut finer, so that
    each split gets its share: to a 200th of the whole, but not below 1 kB.
    """
    enough = 200 * MAX_DOCUMENT_BYTES
    num_bytes = num_documents = 0
    for parsed, path in _find_all(source):
        num_units = _count_lines(path, FEW_DOCUMENTS) if parsed.has_records else 1
        size = count_bytes(path, enough)
        num_documents += max(num_units, size // MAX_DOCUMENT_BYTES)
        num_bytes += size
        if num_documents >= FEW_DOCUMENTS or num_bytes >= enough:
            return MAX_DOCUMENT_BYTES
    return max(MIN_DOCUMENT_BYTES, num_bytes // 200)


def guess_bytes(source: Names) -> int:
    """Returns roughly how much text a source holds: right to a factor, for a bar."""
    total = 1
    for _, path in _find_all(source):
        with contextlib.suppress(OSError):
            total += os.path.getsize(path) * (4 if path.endswith(".gz") else 1)
    return total


def iterate_documents(
    source: Names,
    *,
    max_bytes: int = MAX_DOCUMENT_BYTES,
    on_bad_document: str = "error",
    skips: Skips | None = None,
    field: str = "",
    style: Format = DEFAULT_FORMAT,
) -> Iterator[str]:
    """Yields the documents of sources, in the order of their files' paths.

    Args:
        source: One or several, see above.
        max_bytes: Longer text is cut, at blank lines where there are some.
        on_bad_document: ``error``, or ``skip``; the standard library always skips.
        skips: Counts what was skipped.
        field: The field of records, where a source names none itself.
        style: How files are to be read.

    Raises:
        ConfigError: If a source cannot be read as documents.
        DataError: If there is no such file, or if a document is bad.
    """
    for parsed, path in _find_all(source):
        skip = on_bad_document == "skip" or parsed.scheme == "stdlib"
        for document in _read(parsed, path, max_bytes, field, style):
            if isinstance(document, str):
                yield document
            elif not skip:
                remedy = "Mend it, or set config.data.on_bad_document=skip."
                raise DataError(f"{document.message} {remedy}")
            elif skips is not None:
                skips.add(document, quietly=parsed.scheme == "stdlib")


def check_field(names: Names, field: str, where: str = "config.data.source") -> None:
    """Refuses sources of records whose text has no name.

    Raises:
        ConfigError: Such as for ``jsonl:a.jsonl``.
    """
    for parsed in parse_sources(names, where):
        if parsed.has_records and not (parsed.field or field):
            raise ConfigError(
                f"{where}={show(name_sources(names))} names no field. Write "
                f"{parsed.scheme}:GLOB#field. Or set config.data.fields="
                '{"text": "field"}.'
            )


def _read(
    source: Source, path: str, max_bytes: int, field: str, style: Format
) -> Iterator[str | BadDocument]:
    if source.scheme == "stdlib":
        return read_text(path, DEFAULT_FORMAT.encoding, max_bytes)
    if source.scheme == "text":
        return read_text(path, style.encoding, max_bytes)
    if source.scheme == "idx":
        raise ConfigError(f"idx:{show(source.pattern)} holds images, not text.")
    name = source.field or field
    column = int(name) if not style.header and name.isdecimal() else name
    return read_field(source.read_records(path, style), column, max_bytes)


def _find_all(names: Names) -> Iterator[tuple[Source, str]]:
    """Yields all files with their sources, each real file once for a kind of source."""
    seen = set()
    for source in parse_sources(names):
        for path in source.find_files():
            identity = (source.scheme, source.field, os.path.realpath(path))
            if identity not in seen:
                seen.add(identity)
                yield source, path


def _count_lines(path: str, limit: int) -> int:
    """Returns the number of lines, counted up to `limit`."""
    try:
        with open_bytes(path) as file:
            return sum(1 for _ in itertools.islice(file, limit))
    except READ_ERRORS:
        return 0


def _suggest(text: str, scheme: str) -> str:
    if ":" not in text and any(sign in text for sign in "/.*"):
        return f"Write text:{show(text)}."
    return suggest(scheme, SCHEMES)
