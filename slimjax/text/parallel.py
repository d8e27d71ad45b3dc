"""Records of two files that belong together, line by line: a source and its target."""

from collections.abc import Iterator

from slimjax.errors import DataError
from slimjax.text.files import READ_ERRORS, find_files, open_bytes, show
from slimjax.text.reading import BadDocument, read_lines
from slimjax.text.records import Format, Record


def find_pairs(pattern: str) -> list[tuple[str, str]]:
    """Returns pairs of files: those of a first glob, with those of a second one.

    Args:
        pattern: Two globs with a comma between them. Where there are more commas, the
            one counts that leaves two globs that match files.

    Raises:
        DataError: If there is no such comma, or if the globs match different numbers
            of files.
    """
    commas = [i for i, sign in enumerate(pattern) if sign == ","]
    halves = [(pattern[:i], pattern[i + 1 :]) for i in commas]
    fitting = [pair for pair in halves if all(map(_matches, pair))]
    if not fitting and len(halves) > 1:
        raise DataError(
            f"parallel:{show(pattern)}: no comma of it leaves two patterns that match "
            "files."
        )
    sources, targets = map(find_files, (fitting or halves)[0])
    if len(sources) != len(targets):
        raise DataError(
            f"parallel:{show(pattern)}: the first pattern matches {len(sources)} files,"
            f" the second {len(targets)}."
        )
    return list(zip(sources, targets, strict=True))


def read_pair(path: str, twin: str, style: Format) -> Iterator[Record | BadDocument]:
    """Yields one record for each pair of lines: ``source`` and ``target``.

    Lines that are blank in both files are left out.

    Raises:
        DataError: If the files have different numbers of lines: from some line on,
            they would not belong together.
    """
    check_pair(path, twin, style)
    sides = (read_lines(each, style.encoding) for each in (path, twin))
    for source, target in zip(*sides, strict=False):
        if isinstance(source, BadDocument):
            yield source
        elif isinstance(target, BadDocument):
            yield target
        elif source.text.strip() or target.text.strip():
            yield Record({"source": source.text, "target": target.text}, source)


def check_pair(path: str, twin: str, style: Format) -> None:
    """Refuses two files that do not belong together, line by line.

    Raises:
        DataError: If they have different numbers of lines.
    """
    counts = [_count_lines(each, style) for each in (path, twin)]
    if None not in counts and counts[0] != counts[1]:
        raise DataError(
            f"{show(path)} has {counts[0]:,} lines, {show(twin)} has {counts[1]:,}: "
            "they must be parallel, line by line."
        )


def _matches(pattern: str) -> bool:
    """Returns whether a glob matches a file."""
    try:
        return bool(find_files(pattern))
    except DataError:
        return False


def _count_lines(path: str, style: Format) -> int | None:
    """Returns the lines of a file; None if it cannot be read, which its reader says."""
    try:
        with open_bytes(path, style.encoding) as file:
            return sum(1 for _ in file)
    except READ_ERRORS:
        return None
