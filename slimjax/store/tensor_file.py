"""Safetensors files, written and read one tensor at a time, so that none is gathered.

The file is that of the library's own writer: a header that tells where each tensor
lies, then their bytes. The library checks a header against the length of its file. The
numbers are then read without mapping the file into memory, where all of its pages would
count beside the arrays.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
import safetensors

from slimjax.processes import is_first
from slimjax.store.files import replacing

NAMES = {
    np.dtype(np.float32): "F32",
    np.dtype(np.float16): "F16",
    np.dtype(ml_dtypes.bfloat16): "BF16",
}
"""Names of types in such files."""

DTYPES = {name: dtype for dtype, name in NAMES.items()} | {"F64": np.dtype(np.float64)}

ALIGNMENT = 8
DEVICE_ALIGNMENT = 64


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a tensor lies in a file.

    Attributes:
        path: The file.
        name: The tensor.
        dtype: Its type, as the file has it, such as ``F32``.
        shape: Its shape.
        offset: Its first byte in the file.
    """

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def read(self) -> np.ndarray:
        """Returns the numbers, in the type that the file has.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is cut off, or we know no such type.
        """
        if self.dtype not in DTYPES:
            raise ValueError(f"{self.name} is of type {self.dtype}")
        dtype = DTYPES[self.dtype]
        space = _aligned(math.prod(self.shape) * dtype.itemsize)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            done = 0
            while done < len(space) and (more := file.readinto(space[done:].data)):
                done += more
        if done < len(space):
            raise ValueError(f"{self.name} is cut off")
        return space.view(dtype).reshape(self.shape)


def _aligned(size: int) -> np.ndarray:
    """Returns bytes that begin where XLA wants arrays, which it then need not copy."""
    space = np.empty(size + DEVICE_ALIGNMENT, np.uint8)
    start = -space.ctypes.data % DEVICE_ALIGNMENT
    return space[start : start + size]


def align(array: np.ndarray) -> np.ndarray:
    """Returns a copy that lies where XLA need not copy it again."""
    copy = _aligned(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def list_places(path: Path) -> tuple[dict[str, Place], dict[str, str]]:
    """Returns where the tensors of a file lie, and its metadata.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If its header names a tensor twice.
        safetensors.SafetensorError: If it is damaged.
    """
    with safetensors.safe_open(str(path), framework="numpy") as file:
        known = {
            name: (part.get_dtype(), tuple(part.get_shape()))
            for name in file.keys()  # noqa: SIM118
            for part in [file.get_slice(name)]
        }
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", None) or {}
    places = {
        name: Place(
            path,
            name,
            entry["dtype"],
            tuple(entry["shape"]),
            8 + length + entry["data_offsets"][0],
        )
        for name, entry in header.items()
    }
    if {name: (p.dtype, p.shape) for name, p in places.items()} != known:
        raise ValueError("its header names two tensors alike")
    return places, metadata


class Entry(NamedTuple):
    """A tensor that is to be written.

    Attributes:
        shape: Its shape.
        dtype: Its type, one of `NAMES`.
    """

    shape: Sequence[int]
    dtype: np.dtype


def write_tensors(
    path: Path,
    entries: Mapping[str, Entry],
    read: Callable[[str], np.ndarray],
    metadata: Mapping[str, str],
    seal: Callable[[], Mapping[str, str]] = dict,
) -> int:
    """Writes a file so that it is there whole or not at all; returns its bytes.

    Of several processes the first one writes, and the others only read.

    Args:
        path: The file.
        entries: The tensors, in the order in which they are read and written.
        read: Returns the numbers of one of them.
        metadata: Texts in the header.
        seal: Returns metadata that are known in the end; texts of the same length stand
            for them in `metadata` until then.
    """
    header = _header(entries, metadata)
    if not is_first():
        for name in entries:
            read(name)
        return len(header) + sum(map(_num_bytes, entries.values()))
    with replacing(path) as file:
        file.write(header)
        for name, entry in entries.items():
            array = np.asarray(read(name), entry.dtype, order="C")
            if array.shape != tuple(entry.shape):
                raise ValueError(f"{name} has another shape than its header")
            file.write(array.reshape(-1).view(np.uint8).data)
        size = file.tell()
        sealed = _header(entries, {**metadata, **seal()})
        if len(sealed) != len(header):
            raise ValueError("the header has another length in the end")
        file.seek(0)
        file.write(sealed)
    return size


def is_as_written(
    path: Path, places: Mapping[str, Place], metadata: Mapping[str, str]
) -> bool:
    """Whether each byte of a file's header is what `write_tensors` would write."""
    ordered = sorted(places.values(), key=lambda place: (place.offset, place.name))
    entries = {p.name: Entry(p.shape, DTYPES[p.dtype]) for p in ordered}
    header = _header(entries, metadata)
    with path.open("rb") as file:
        return file.read(len(header)) == header


def _header(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    """Returns the length of the header, and the header, padded with spaces."""
    content: dict = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for name, entry in entries.items():
        end = start + _num_bytes(entry)
        content[name] = {
            "dtype": NAMES[entry.dtype],
            "shape": list(map(int, entry.shape)),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _num_bytes(entry: Entry) -> int:
    return math.prod(map(int, entry.shape)) * entry.dtype.itemsize
