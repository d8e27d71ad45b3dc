"""What stands before the numbers of a GGUF file: its settings, and where tensors are.

Every count and every length is compared with the length of the file before anything of
that size is made, so a damaged or hostile file ends in one line.

References:
    ggml-org, "GGUF", https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import dataclasses
import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from slimjax.errors import ConfigError, DataError
from slimjax.text.files import show

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32
MAX_NAME = 1 << 16
MAX_DIMENSIONS = 4
_SCALARS = ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?", "", "", "<u8", "<i8")
_TYPES = dict(enumerate((*_SCALARS, "<f8")))  # By number; 8 is text and 9 a list.
_TEXT, _LIST, _FLAG = 8, 9, 7


@dataclasses.dataclass(frozen=True)
class Entry:
    """A tensor as the header describes it.

    Attributes:
        name: Its name in the file.
        shape: Its shape, the longest stride first, as NumPy has it.
        type: Name of its type, such as ``Q4_1``.
        offset: Where its bytes begin, from the start of the file.
        num_bytes: How many there are.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    num_bytes: int


@dataclasses.dataclass(frozen=True)
class Header:
    """All of a GGUF file but its numbers.

    Attributes:
        path: The file.
        size: Its length in bytes.
        settings: Values by key: int, float, bool, str, an array of numbers, or a list
            of texts.
        tensors: By name, in the order of the file.
    """

    path: Path
    size: int
    settings: dict[str, Any]
    tensors: dict[str, Entry]

    def refuse(self, reason: str) -> DataError:
        """Returns the error that says why this file is not taken."""
        return DataError(f"{show(str(self.path))}: {reason}")


def read_header(path: Path) -> Header:
    """Reads what stands before the numbers, and checks it against the file's length.

    Raises:
        ConfigError: If the gguf library is not installed.
        DataError: If it is not a whole GGUF file of version 2 or 3, is part of a split
            one, or has a tensor of a type that cannot be read.
    """
    check_library()
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _parse(Header(path, size, {}, {}), _Cursor(file, size))
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{show(str(path))} cannot be read: {reason}.") from None


def check_library() -> None:
    """Raises `ConfigError` where the gguf library is not installed."""
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise ConfigError(
            "--format=gguf needs the gguf library: pip install 'slimjax[interop]'"
        ) from None


class _Damaged(Exception):
    """Why a file is not a whole one."""


class _Cursor:
    """Takes bytes off a file, never more than it has."""

    def __init__(self, file: BinaryIO, size: int):
        self._file = file
        self._size = size
        self.position = 0

    def check(self, count: int, least: int, what: str) -> None:
        """Refuses `count` items of `least` bytes each if the file is too short."""
        if count * least > self._size - self.position:
            raise _Damaged(f"it ends within {what}")

    def take(self, num_bytes: int, what: str) -> bytes:
        self.check(num_bytes, 1, what)
        data = self._file.read(num_bytes)
        if len(data) < num_bytes:
            raise _Damaged(f"it ends within {what}")
        self.position += num_bytes
        return data

    def number(self, code: str, what: str) -> int:
        return struct.unpack(code, self.take(struct.calcsize(code), what))[0]

    def text(self, what: str) -> str:
        length = self.number("<Q", what)
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError:
            raise _Damaged(f"a text in {what} is not UTF-8") from None

    def name(self, what: str) -> str:
        start = self.position
        text = self.text(what)
        if not text or self.position - start > MAX_NAME:
            raise _Damaged(f"{what} have a name that is empty or far too long")
        return text


def _parse(header: Header, cursor: _Cursor) -> Header:
    try:
        _check_start(cursor)
        num_tensors = cursor.number("<Q", "its counts")
        num_settings = cursor.number("<Q", "its counts")
        cursor.check(num_settings, 13, "its settings")
        for _ in range(num_settings):
            name = cursor.name("its settings")
            if name in header.settings:
                raise _Damaged(f"the setting {name!r:.80} stands there twice")
            header.settings[name] = _read_value(cursor, f"the setting {name!r:.80}")
        _check_whole(header.settings)
        cursor.check(num_tensors, 32, "its list of tensors")
        listed = [_read_entry(cursor) for _ in range(num_tensors)]
        _place(header, listed, cursor.position)
    except _Damaged as error:
        raise header.refuse(f"not a whole GGUF file: {error}.") from None
    return header


def _check_start(cursor: _Cursor) -> None:
    if cursor.take(4, "its first bytes") != MAGIC:
        raise _Damaged("it does not begin with GGUF")
    version = cursor.number("<I", "its version")
    if version & 0xFFFF == 0 and version:
        raise _Damaged("its numbers are big-endian, and only little-endian is read")
    if version not in VERSIONS:
        raise _Damaged(f"it has version {version}, and only 2 and 3 are read")


def _read_value(cursor: _Cursor, what: str) -> Any:
    """Reads a type and a value of it."""
    kind = cursor.number("<I", what)
    if kind == _TEXT:
        return cursor.text(what)
    if kind == _LIST:
        return _read_list(cursor, what)
    value = _read_numbers(cursor, kind, 1, what)[0].item()
    if isinstance(value, float) and not math.isfinite(value):
        raise _Damaged(f"{what} is not finite")
    return value


def _read_list(cursor: _Cursor, what: str) -> np.ndarray | list[str]:
    kind = cursor.number("<I", what)
    length = cursor.number("<Q", what)
    if kind == _TEXT:
        cursor.check(length, 8, what)
        return [cursor.text(what) for _ in range(length)]
    return _read_numbers(cursor, kind, length, what)


def _read_numbers(cursor: _Cursor, kind: int, count: int, what: str) -> np.ndarray:
    code = _TYPES.get(kind)
    if not code:
        raise _Damaged(f"{what} has a value of an unknown type, {kind}")
    data = cursor.take(count * np.dtype(code).itemsize, what)
    if kind == _FLAG and data.strip(b"\0\1"):
        raise _Damaged(f"{what} is neither true nor false")
    return np.frombuffer(data, code)


def _check_whole(settings: dict[str, Any]) -> None:
    parts = settings.get("split.count", 0)
    if not isinstance(parts, int) or parts > 1:
        raise _Damaged(
            "it is one part of a split model; join the parts with gguf-split --merge"
        )


def _read_entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """Returns a tensor's name, shape, type and offset."""
    what = "its list of tensors"
    name = cursor.name(what)
    count = cursor.number("<I", what)
    if not 1 <= count <= MAX_DIMENSIONS:
        raise _Damaged(f"the tensor {name!r:.80} has {count} dimensions")
    dims = [cursor.number("<Q", what) for _ in range(count)]
    if 0 in dims:
        raise _Damaged(f"the tensor {name!r:.80} has no numbers")
    kind, offset = cursor.number("<I", what), cursor.number("<Q", what)
    return name, tuple(reversed(dims)), kind, offset


def _place(header: Header, listed: list, position: int) -> None:
    """Checks that tensors lie one behind the other and within the file."""
    alignment = header.settings.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise _Damaged(f"general.alignment={alignment!r:.20} is not a power of two")
    pad = lambda n: -(-n // alignment) * alignment
    start, expected = pad(position), 0
    for name, shape, kind, offset in listed:
        if name in header.tensors:
            raise _Damaged(f"the tensor {name!r:.80} stands there twice")
        kind_name, row_bytes = _row_bytes(kind, shape[-1], name)
        num_bytes = row_bytes * math.prod(shape[:-1])
        if offset != expected:
            raise _Damaged(f"the tensor {name!r:.80} does not lie behind the last one")
        if start + offset + num_bytes > header.size:
            raise _Damaged(f"it ends before the numbers of the tensor {name!r:.80}")
        entry = Entry(name, shape, kind_name, start + offset, num_bytes)
        header.tensors[name] = entry
        expected += pad(num_bytes)


def _row_bytes(kind: int, length: int, name: str) -> tuple[str, int]:
    """Returns the name of a type, and the bytes of a row of this length."""
    import gguf

    try:
        known = gguf.GGMLQuantizationType(kind)
        block, num_bytes = gguf.GGML_QUANT_SIZES[known]
    except (ValueError, KeyError):
        raise _Damaged(
            f"the tensor {name!r:.80} has type {kind}, which the gguf library "
            "does not know"
        ) from None
    try:
        with np.errstate(all="ignore"):
            gguf.quants.dequantize(np.zeros((1, num_bytes), np.uint8), known)
    except NotImplementedError:
        raise _Damaged(
            f"the tensor {name!r:.80} has type {known.name}, which the gguf library "
            "does not read as numbers"
        ) from None
    if length % block:
        raise _Damaged(
            f"the tensor {name!r:.80} has rows of {length} numbers, and {known.name} "
            f"holds blocks of {block}"
        )
    return known.name, length // block * num_bytes
