"""Records of CoNLL files: a token and its tag on each line, sentences apart.

The token is the first column and the tag the last one; columns between them have their
numbers for names. Columns are divided by tabs where a line has one, else by spaces. A
sentence ends at a blank line, or at one that holds only a tab. References: Tjong Kim
Sang and De Meulder, "Introduction to the CoNLL-2003 Shared Task", 2003, section 2.
"""

from collections.abc import Iterator
from typing import Any

from slimjax.text.reading import BadDocument, Line, make_empty, read_lines
from slimjax.text.records import Format, Record

DOCUMENT_START = "-DOCSTART-"
"""First token of a line that only begins a document."""


def read_conll(path: str, style: Format) -> Iterator[Record | BadDocument]:
    """Yields one record for each sentence: lists of ``tokens`` and ``tags``.

    A file with one column has no tags. A bad line makes its sentence bad.
    """
    rows: list[tuple[Line, list[str]]] = []
    bad: BadDocument | None = None
    is_empty = True
    for line in read_lines(path, style.encoding):
        if isinstance(line, BadDocument):
            bad, is_empty = bad or line, False
        elif line.text.strip():
            rows.append((line, _split(line.text)))
        elif rows or bad:
            yield from _end_sentence(rows, bad)
            rows, bad, is_empty = [], None, False
    if rows or bad:
        yield from _end_sentence(rows, bad)
    elif is_empty:
        yield make_empty(path)


def _split(text: str) -> list[str]:
    return text.split("\t") if "\t" in text.rstrip("\t") else text.split()


def _end_sentence(
    rows: list[tuple[Line, list[str]]], bad: BadDocument | None
) -> Iterator[Record | BadDocument]:
    """Yields the record of a sentence, if it is one."""
    if bad is not None:
        yield bad
        return
    first, columns = rows[0]
    if columns[0] == DOCUMENT_START:
        rows = rows[1:]
    if not rows:
        return
    first, columns = rows[0]
    for line, row in rows:
        if len(row) != len(columns):
            problem = f"has {len(row)} columns, line {first.number} {len(columns)}."
            yield line.bad("wrong_columns", problem)
            return
    names: list[Any] = ["tokens", *map(str, range(1, len(columns) - 1)), "tags"]
    listed = [list(column) for column in zip(*(row for _, row in rows), strict=True)]
    yield Record(dict(zip(names, listed, strict=False)), first)
