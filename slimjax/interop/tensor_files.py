"""Safetensors files, read one tensor at a time.

The library checks the header against the length of the file before anything is
allocated; then each tensor is read by itself, and must be finite.
"""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import safetensors

from slimjax.errors import DataError
from slimjax.interop.foreign import Tensor
from slimjax.paths import printable
from slimjax.store.tensor_file import DTYPES, Place, list_places

NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def read_tensor_file(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file, whose numbers are not read yet.

    Raises:
        DataError: If it is missing, damaged or of another format.
    """
    try:
        places, _ = list_places(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{printable(path)} cannot be read: {reason}.") from None
    return {
        name: Tensor(p.shape, NAMES.get(p.dtype, p.dtype), partial(read_finite, p))
        for name, p in places.items()
    }


def read_finite(place: Place) -> np.ndarray:
    """Returns the numbers of a tensor, float32.

    Raises:
        DataError: If they are no numbers of weights, or not all finite.
    """
    where = f"{printable(place.path)}: the tensor {place.name}"
    if place.dtype not in DTYPES:
        known = ", ".join(DTYPES)
        raise DataError(f"{where} is of type {place.dtype}. Known: {known}.")
    try:
        array = place.read()
    except (OSError, ValueError) as error:
        raise DataError(f"{where} cannot be read: {error}.") from None
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise DataError(f"{where} holds a number that is not finite.")
    return array


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
