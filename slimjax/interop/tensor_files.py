"""Safetensors files, read one tensor at a time.

The library checks the header against the length of the file before anything is
allocated; then each tensor is read by itself, and must be finite.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from slimjax.errors import DataError
from slimjax.interop.foreign import Tensor
from slimjax.paths import printable

DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
}
"""Types of weights, by their names in files."""

NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a tensor lies in a file.

    Attributes:
        path: The file.
        name: The tensor.
        dtype: Its type, as the file has it.
        shape: Its shape.
        offset: Its first byte in the file.
    """

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def read(self) -> np.ndarray:
        """Returns the numbers, float32.

        Raises:
            DataError: If they are no numbers of weights, or not all finite.
        """
        where = f"{printable(self.path)}: the tensor {self.name}"
        if self.dtype not in DTYPES:
            raise DataError(
                f"{where} is of type {self.dtype}. Known: {', '.join(DTYPES)}."
            )
        count, dtype = int(np.prod(self.shape, dtype=np.int64)), DTYPES[self.dtype]
        try:
            array = np.fromfile(self.path, dtype, count, offset=self.offset)
        except OSError as error:
            raise DataError(f"{where} cannot be read: {error.strerror}.") from None
        if len(array) != count:
            raise DataError(f"{where} is cut off.")
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False).reshape(self.shape)
        if not np.isfinite(array).all():
            raise DataError(f"{where} holds a number that is not finite.")
        return array


def read_tensor_file(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file, whose numbers are not read yet.

    Raises:
        DataError: If it is missing, damaged or of another format.
    """
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            known = {
                name: (part.get_dtype(), tuple(part.get_shape()))
                for name in file.keys()  # noqa: SIM118
                for part in [file.get_slice(name)]
            }
        places = _read_header(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{printable(path)} cannot be read: {reason}.") from None
    if {name: (p.dtype, p.shape) for name, p in places.items()} != known:
        raise DataError(f"{printable(path)} is damaged: its header names two alike.")
    return {
        name: Tensor(place.shape, NAMES.get(place.dtype, place.dtype), place.read)
        for name, place in places.items()
    }


def _read_header(path: Path) -> dict[str, Place]:
    """Returns where the tensors of a file lie, which the library has checked."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {
        name: Place(
            path,
            name,
            entry["dtype"],
            tuple(entry["shape"]),
            8 + length + entry["data_offsets"][0],
        )
        for name, entry in header.items()
    }


def digest_of(paths: list[Path]) -> tuple[str, int]:
    """Returns the SHA-256 of a file, or over those of several, and all their bytes.

    Raises:
        DataError: If one of them cannot be read.
    """
    digests, num_bytes = [], 0
    for path in paths:
        try:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
                num_bytes += file.tell()
        except OSError as error:
            raise DataError(
                f"{printable(path)} cannot be read: {error.strerror}."
            ) from None
    if len(digests) == 1:
        return digests[0], num_bytes
    return hashlib.sha256("".join(digests).encode()).hexdigest(), num_bytes
