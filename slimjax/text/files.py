"""Finding and opening files: globs, plain or gzipped bytes, honest messages."""

import glob
import gzip
import os
import sysconfig
import zlib
from collections.abc import Iterator
from io import BufferedIOBase

from slimjax.errors import DataError, suggest

# What reading a file may raise, a broken gzip stream included.
READ_ERRORS = (OSError, EOFError, zlib.error)
BLOCK_BYTES = 1 << 16
BOM = b"\xef\xbb\xbf"
_NOT_LIBRARY = {
    *("test", "tests", "idle_test", "__pycache__"),
    *("site-packages", "dist-packages"),
}


def show(value: object) -> str:
    """Returns `value` as a person would type it, on one line, printable anywhere."""
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if text.isprintable() and text else repr(text)


def find_files(pattern: str) -> list[str]:
    """Returns the files that a path or a glob names, sorted, each file once.

    Args:
        pattern: A path or a glob; ``**`` crosses folders and ``~`` is the home.

    Raises:
        DataError: If there is no such file.
    """
    expanded = os.path.expanduser(pattern)
    if os.path.isfile(expanded):
        return [expanded]
    if os.path.isdir(expanded):
        example = os.path.join(pattern, "**", "*.txt")
        raise DataError(f"{show(pattern)} is a folder. Name files: {show(example)}")
    unique = {}
    for path in sorted(glob.glob(expanded, recursive=True)):
        if os.path.isfile(path):
            unique.setdefault(os.path.realpath(path), path)
    if not unique:
        raise DataError(_why_nothing(pattern, expanded))
    return list(unique.values())


def find_library_files() -> list[str]:
    """Returns the ``.py`` files of the standard library, without its tests."""
    root = sysconfig.get_paths()["stdlib"]
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - _NOT_LIBRARY)
        found += [os.path.join(folder, n) for n in names if n.endswith(".py")]
    if not found:
        raise DataError(
            f"config.data.source=stdlib finds no .py file below {show(root)}. "
            "Name other text: config.data.source=text:GLOB"
        )
    return sorted(found, key=lambda path: os.path.relpath(path, root))


def open_bytes(path: str) -> BufferedIOBase:
    """Opens a file for reading; one that ends in ``.gz`` is unpacked on the way."""
    if path.endswith(".gz"):
        return gzip.GzipFile(path, "rb")
    return open(path, "rb")


def read_blocks(path: str) -> Iterator[bytes]:
    """Yields the bytes of a file in blocks, so that any size fits in memory."""
    with open_bytes(path) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def count_bytes(path: str, limit: int) -> int:
    """Returns the unpacked size of a file; counting stops soon after `limit`."""
    try:
        if not path.endswith(".gz"):
            return os.path.getsize(path)
        total = 0
        for block in read_blocks(path):
            total += len(block)
            if total >= limit:
                break
        return total
    except READ_ERRORS:
        return 0  # The reader names what is wrong with it.


def _why_nothing(pattern: str, expanded: str) -> str:
    if glob.has_magic(expanded):
        hint = "Check the pattern; ** crosses folders."
        return f"{show(pattern)} matches no file. {hint}"
    folder, name = os.path.split(expanded)
    try:
        names = os.listdir(folder or ".")
    except (OSError, ValueError):
        return f"{show(pattern)} does not exist, nor does its folder."
    hint = suggest(name, names) if 0 < len(names) <= 10 else ""
    return f"{show(pattern)} does not exist. {show(hint) if hint else ''}".rstrip()
