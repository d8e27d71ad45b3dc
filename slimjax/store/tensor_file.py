"""Safetensors files that are written one tensor at a time, so that none is gathered.

The file is that of the library's own writer: a header that tells where each tensor
lies, then their bytes.
"""

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np

from slimjax.processes import is_first

NAMES = {
    np.dtype(np.float32): "F32",
    np.dtype(np.float16): "F16",
    np.dtype(ml_dtypes.bfloat16): "BF16",
}
"""Names of types in such files."""

ALIGNMENT = 8


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
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
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
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return size


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
