"""Records of a folder of images: one for each file, its class the folder it is in."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from slimjax.paths import printable
from slimjax.text.files import show
from slimjax.text.reading import BadDocument, Line
from slimjax.text.records import Format, Record

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Endings of files that are taken for images, in small letters."""

NO_ENDING = "without an ending"
_KNOWN = ", ".join(SUFFIXES)


def read_image_folder(path: str, style: Format) -> Iterator[Record | BadDocument]:
    """Yields ``image``, a path below the folder, and ``label``, a class, of each file.

    Folders below a class belong to it. An image beside the class folders has no label.
    Other files, and what begins with a dot, are left out. A folder that cannot be read,
    or that leads back to one above it, is bad.

    Args:
        path: The folder, with a folder for each class.
        style: Not needed.
    """
    del style
    root, number = Path(path), 0
    entries = _list(root)
    if isinstance(entries, BadDocument):
        yield entries
        return
    for entry in entries:
        is_class, is_empty = os.path.isdir(entry), True
        for file in _list_files(entry, root):
            if isinstance(file, BadDocument):
                is_empty = False
                yield file
            elif _is_image(file):
                is_empty, number = False, number + 1
                label = {"label": entry.name} if is_class else {}
                values = {"image": os.fspath(file.relative_to(root)), **label}
                line = Line("", number, os.fspath(file), unit="image")
                yield Record(values, line, folder=path, is_listed=True)
        if is_class and is_empty:
            problem = f"is the folder of a class, {show(entry.name)}, and holds no"
            yield _bad(entry, "no_image", f"{problem} image ({_KNOWN}).")
    if number == 0:
        yield _bad(root, "empty", f"holds no image ({_KNOWN}).")


def count_others(path: str | os.PathLike[str]) -> Counter[str]:
    """Returns how many files of a folder are no images, by their ending."""
    files = (file for file in _walk(Path(path)) if isinstance(file, Path))
    others = (file for file in files if not _is_image(file))
    return Counter(show(file.suffix.lower() or NO_ENDING) for file in others)


def _list_files(entry: Path, root: Path) -> Iterator[Path | BadDocument]:
    """Yields a file, or the files of a class; those with names of UTF-8 alone."""
    is_class = os.path.isdir(entry) and _is_utf8(entry, root)
    for file in _walk(entry, (root,)) if is_class else [entry]:
        if isinstance(file, BadDocument) or _is_utf8(file, root):
            yield file
        elif os.path.isdir(file) or _is_image(file):
            yield _bad(file, "not_utf8", "has a name that is not UTF-8. Rename it.")


def _is_utf8(file: Path, root: Path) -> bool:
    name = os.fspath(file.relative_to(root))
    return printable(name) == name


def _walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path | BadDocument]:
    """Yields the files in a folder and below it, in a fixed order.

    Links are followed. A folder that cannot be read is yielded as bad.

    Args:
        folder: The folder.
        above: Folders that it is in, to which no link may lead back.
    """
    entries = _list(folder)
    if not isinstance(entries, BadDocument):
        circle = next((each for each in above if folder.samefile(each)), None)
        if circle is not None:
            problem = f"leads back to {show(os.fspath(circle))}, which it is in."
            entries = _bad(folder, "circle", f"{problem} Remove this link.")
    if isinstance(entries, BadDocument):
        yield entries
        return
    yield from (entry for entry in entries if not os.path.isdir(entry))
    for entry in filter(os.path.isdir, entries):
        yield from _walk(entry, (*above, folder))


def _list(folder: Path) -> list[Path] | BadDocument:
    """Returns what is in a folder, sorted, without what begins with a dot."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        why = show(error.strerror or str(error))
        return _bad(folder, "unreadable", f"cannot be read: {why}.")


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _bad(path: Path, reason: str, problem: str) -> BadDocument:
    """Returns what to yield in place of a folder."""
    return BadDocument(reason, f"{show(os.fspath(path))} {problem}", os.fspath(path))
