"""The documents of sources: a stream of texts, each of them short.

A file or record longer than 64 kB is cut into documents at blank lines; nothing is ever
held in memory as a whole.
"""

import contextlib
import itertools
import os
import re
from collections.abc import Iterator

from slimjax.errors import ConfigError, DataError
from slimjax.text.documents import read_field, read_text
from slimjax.text.files import READ_ERRORS, count_bytes, open_bytes, show
from slimjax.text.reading import NO_FIELD, BadDocument
from slimjax.text.records import DEFAULT_FORMAT, Format
from slimjax.text.skips import Skips
from slimjax.text.sources import Names, Part, Source, name_sources, parse_sources
from slimjax.text.tfds_folder import find_prepared, parse_name

MAX_DOCUMENT_BYTES = 1 << 16
MIN_DOCUMENT_BYTES = 1 << 10
FEW_DOCUMENTS = 100


def choose_document_bytes(source: Names, style: Format = DEFAULT_FORMAT) -> int:
    """Returns the size from which text is cut into documents, for `cut_bytes`.

    It is 64 kB, as a rule. A corpus of fewer than 100 documents is cut finer, so that
    each split gets its share: to a 200th of the whole, but not below 1 kB.
    """
    enough = 200 * MAX_DOCUMENT_BYTES
    num_bytes = num_documents = 0
    for parsed, part in _find_all(source, style):
        num_units, size = _measure(parsed, part, style, enough)
        num_documents += max(num_units, size // MAX_DOCUMENT_BYTES)
        num_bytes += size
        if num_documents >= FEW_DOCUMENTS or num_bytes >= enough:
            return MAX_DOCUMENT_BYTES
    return max(MIN_DOCUMENT_BYTES, num_bytes // 200)


def guess_bytes(source: Names, style: Format = DEFAULT_FORMAT) -> int:
    """Returns roughly how much text a source holds: right to a factor, for a bar."""
    total = 1
    for parsed, part in _find_all(source, style):
        path = part.path
        if parsed.scheme == "tfds":
            total += _measure(parsed, part, style, 0)[1]
            continue
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
    for parsed, part in _find_all(source, style):
        skip = on_bad_document == "skip" or parsed.scheme == "stdlib"
        for document in _read(parsed, part, max_bytes, field, style):
            if isinstance(document, str):
                yield document
            elif not skip:
                remedy = " Mend it, or set config.data.on_bad_document=skip."
                remedy = "" if document.reason == NO_FIELD else remedy
                raise DataError(f"{document.message}{remedy}")
            elif skips is not None:
                skips.add(document, quietly=parsed.scheme == "stdlib")


def check_field(names: Names, field: str, where: str = "config.data.source") -> None:
    """Refuses sources of records whose text has no name.

    Raises:
        ConfigError: Such as for ``jsonl:a.jsonl``.
    """
    for parsed in parse_sources(names, where):
        has_field = parsed.field or field or parsed.scheme == "tfds"
        if parsed.has_records and not has_field:
            raise ConfigError(
                f"{where}={show(name_sources(names))} names no field. Write "
                f"{parsed.scheme}:GLOB#field. Or set config.data.fields="
                '{"text": "field"}.'
            )


def _read(
    source: Source, part: Part, max_bytes: int, field: str, style: Format
) -> Iterator[str | BadDocument]:
    if source.scheme == "stdlib":
        return read_text(part.path, DEFAULT_FORMAT.encoding, max_bytes)
    if source.scheme == "text":
        return read_text(part.path, style.encoding, max_bytes)
    if source.scheme == "idx":
        raise ConfigError(f"idx:{show(source.pattern)} holds images, not text.")
    name = source.field or field or "text"
    column = int(name) if not style.header and name.isdecimal() else name
    return read_field(source.read_records(part, style), column, max_bytes)


def _measure(source: Source, part: Part, style: Format, enough: int) -> tuple[int, int]:
    """Returns the documents of a file, and its bytes, both counted up to a limit."""
    if source.scheme == "tfds":
        wanted = parse_name(source.pattern)
        found = find_prepared(source.pattern, style.tfds_dir)
        asked = wanted.split if wanted else ""
        split = found.choose_split(asked, style.split)
        return found.splits[re.split(r"\W", split, maxsplit=1)[0]]
    size = count_bytes(part.path, enough)
    return _count_lines(part.path, FEW_DOCUMENTS) if source.has_records else 1, size


def _find_all(names: Names, style: Format) -> Iterator[tuple[Source, Part]]:
    """Yields all files with their sources, each real file once for a kind of source."""
    seen = set()
    for source in parse_sources(names):
        for part in source.find_files(style):
            split = source.pattern if source.scheme == "tfds" else ""
            own = source.scheme, source.field, split
            identity = (*own, *map(os.path.realpath, part))
            if identity not in seen:
                seen.add(identity)
                yield source, part


def _count_lines(path: str, limit: int) -> int:
    """Returns the number of lines, counted up to `limit`."""
    try:
        with open_bytes(path) as file:
            return sum(1 for _ in itertools.islice(file, limit))
    except READ_ERRORS:
        return 0
