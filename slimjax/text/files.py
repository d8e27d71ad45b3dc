"""Finding and opening files: globs, plain or gzipped bytes, messages with a remedy."""

import codecs
import glob
import gzip
import io
import os
import stat
import sysconfig
import zlib
from collections.abc import Iterator
from io import BufferedIOBase

from slimjax.errors import DataError, suggest
from slimjax.paths import printable, user_path
from slimjax.text.encodings import UTF8
from slimjax.text.globs import expand

# What reading a file may raise: a broken gzip stream, or another encoding, included.
READ_ERRORS = (OSError, EOFError, zlib.error, UnicodeError)
BLOCK_BYTES = 1 << 16
BOM = codecs.BOM_UTF8
_NOT_LIBRARY = {
    *("test", "tests", "idle_test", "__pycache__"),
    *("site-packages", "dist-packages"),
}


def show(value: object) -> str:
    """Returns `value` as a person would type it, on one line, printable anywhere."""
    text = printable(value if isinstance(value, str) else repr(value))
    return text if text.isprintable() and text else repr(text)


def find_files(pattern: str) -> list[str]:
    """Returns the files that a path or a glob names, sorted, each file once.

    Args:
        pattern: A path or a glob; ``**`` crosses folders and ``~`` is the home.

    Raises:
        DataError: If there is no such file.
    """
    expanded = os.fspath(user_path(pattern, "config.data.source"))
    if os.path.isfile(expanded):
        return [expanded]
    if os.path.isdir(expanded):
        example = os.path.join(pattern, "**", "*.txt")
        raise DataError(f"{show(pattern)} is a folder. Name files: {show(example)}")
    if os.path.exists(expanded):
        raise DataError(
            f"{show(pattern)} is {_kind_of(expanded)}, not a file. Text is read more "
            "than once: write it into a file, and name that."
        )
    files = expand(expanded)
    if not files:
        raise DataError(_why_nothing(pattern, expanded))
    return files


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


def open_bytes(path: str, encoding: str = UTF8) -> BufferedIOBase:
    """Opens a file for reading, as UTF-8 bytes.

    A file that ends in ``.gz`` is unpacked on the way; one in another encoding is
    converted, and raises `UnicodeDecodeError` where it is not in that encoding.
    """
    if codecs.lookup(encoding).name != UTF8:
        raw = _Converted(open_bytes(path), encoding)
        return io.BufferedReader(raw, BLOCK_BYTES)
    if path.endswith(".gz"):
        return gzip.GzipFile(path, "rb")
    return open(path, "rb")


def read_blocks(path: str, encoding: str = UTF8) -> Iterator[bytes]:
    """Yields the UTF-8 bytes of a file in blocks, so that any size fits in memory."""
    with open_bytes(path, encoding) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


class _Converted(io.RawIOBase):
    """A file in another encoding, as UTF-8 bytes."""

    def __init__(self, file: BufferedIOBase, encoding: str):
        self._file, self._encoding, self._ready = file, encoding, b""
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._line = 1  # Of what is decoded next.

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        while not self._ready:
            block = self._file.read(BLOCK_BYTES)
            self._ready = self._decode(block)
            self._line += self._ready.count(b"\n")
            if not block and not self._ready:
                return 0
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _decode(self, block: bytes) -> bytes:
        try:
            return self._decoder.decode(block, final=not block).encode()
        except UnicodeDecodeError as error:
            good = error.object[: error.start].decode(self._encoding, "replace")
            line = self._line + good.count("\n")
            raise UnicodeError(
                f"line {line} is not {self._encoding}: {error}"
            ) from None
        except UnicodeError as error:
            line = self._line
            raise UnicodeError(
                f"line {line} is not {self._encoding}: {error}"
            ) from None

    def close(self):
        self._file.close()
        super().close()


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


def _kind_of(path: str) -> str:
    """Returns what a path leads to that is neither a file nor a folder."""
    mode = os.stat(path).st_mode
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def _why_nothing(pattern: str, expanded: str) -> str:
    if os.path.islink(expanded):
        target = show(os.readlink(expanded))
        return f"{show(pattern)} is a link to {target}, which does not exist."
    if glob.has_magic(expanded):
        hint = "Check the pattern; ** crosses folders."
        return f"{show(pattern)} matches no file. {hint}"
    folder, name = os.path.split(expanded)
    try:
        names = os.listdir(folder or ".")
    except PermissionError:
        return f"{show(pattern)} cannot be read: no permission for its folder."
    except (OSError, ValueError):
        return f"{show(pattern)} does not exist, nor does its folder."
    hint = suggest(name, names) if 0 < len(names) <= 10 else ""
    return f"{show(pattern)} does not exist. {show(hint) if hint else ''}".rstrip()
