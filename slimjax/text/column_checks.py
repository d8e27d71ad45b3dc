"""Files that a model cannot read: refused before any example is read."""

from collections.abc import Sequence

from slimjax.errors import DataError
from slimjax.text.fields import Column, with_field
from slimjax.text.parallel import check_pair
from slimjax.text.reading import BadDocument
from slimjax.text.records import Format, Record
from slimjax.text.sources import Names, Part, Source, parse_sources
from slimjax.text.tables import find_no_header

CHECKED = ("csv", "tfds")
"""Sources whose records all have the same fields."""


def check_columns(
    names: Names,
    columns: Sequence[Column],
    *,
    style: Format,
    where: str = "config.data.source",
) -> None:
    """Refuses tables without a header, and sources without a field of the inputs.

    Parallel files must have as many lines as each other.

    Args:
        names: Sources.
        columns: Where the values stand; those of targets are not read.
        style: How files are to be read.
        where: The setting of the sources, for messages.

    Raises:
        ConfigError: If ``#field`` of a source can name no text.
        DataError: If there is such a file, or no file at all.
    """
    inputs = [c for c in columns if not c.is_target]
    for source in parse_sources(names, where):
        found = with_field(inputs, source)
        for pair in source.find_files(style) if source.scheme == "parallel" else ():
            check_pair(*pair, style)
        if source.scheme not in CHECKED:
            continue
        needed = [key for c in found if not c.is_optional for key in c.keys]
        for part in source.find_files(style):
            bad = _find_missing(source, part, style, needed)
            if bad is not None:
                raise DataError(bad.message)


def _find_missing(
    source: Source, part: Part, style: Format, needed: Sequence[str | int]
) -> BadDocument | None:
    """Returns what is wrong with the first record, or the header, of a file."""
    if source.scheme == "csv":
        return find_no_header(part.path, style, needed)
    first = next(source.read_records(part, style), None)
    return first.find_missing(needed) if isinstance(first, Record) else None
