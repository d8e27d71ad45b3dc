"""The numbers of a GGUF file's tensors, a few rows at a time."""

import math
import re
from collections.abc import Iterator

import numpy as np

from slimjax.errors import DataError
from slimjax.interop.gguf_header import Header
from slimjax.text.files import show

CHUNK = 1 << 20
"""Numbers that are decoded at once, so that memory stays near the tensor itself."""

TWINS = (
    ("F16", "BF16"),
    ("Q4_0", "IQ4_NL"),
    ("Q3_K", "IQ3_S"),
    ("IQ2_XXS", "TQ2_0"),
    ("IQ4_XS", "MXFP4"),
)
"""Types whose blocks are equally long: one read as the other would look whole."""


def read_numbers(header: Header, name: str) -> np.ndarray:
    """Reads one tensor.

    Args:
        header: The header of the file.
        name: The tensor's name in it.

    Returns:
        Its numbers, float32 in C order, in the shape that the header tells.

    Raises:
        DataError: If the file has become shorter, or a number is not finite.
    """
    entry = header.tensors[name]
    numbers = np.empty((math.prod(entry.shape[:-1]), entry.shape[-1]), np.float32)
    for place, rows in read_rows(header, name):
        numbers[place] = rows
    return numbers.reshape(entry.shape)


def read_rows(header: Header, name: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields the rows of one tensor, some at a time, and where they stand.

    Args:
        header: The header of the file.
        name: The tensor's name in it; all axes but its last one count as rows.

    Raises:
        DataError: If the file has become shorter, or a number is not finite.
    """
    entry = header.tensors[name]
    num_rows, length = math.prod(entry.shape[:-1]), entry.shape[-1]
    row_bytes, step = entry.num_bytes // num_rows, max(1, CHUNK // length)
    try:
        with open(header.path, "rb") as file:
            file.seek(entry.offset)
            for start in range(0, num_rows, step):
                count = min(step, num_rows - start)
                data = file.read(count * row_bytes)
                if len(data) < count * row_bytes:
                    raise header.refuse(f"it ends before the numbers of {name}.")
                rows = _decode(data, count, entry.type)
                if not np.isfinite(rows).all():
                    raise header.refuse(f"{name} has a number that is not finite.")
                yield slice(start, start + count), rows
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{show(str(header.path))}: {reason}.") from None


def _decode(data: bytes, num_rows: int, kind: str) -> np.ndarray:
    import gguf

    blocks = np.frombuffer(data, np.uint8).reshape(num_rows, -1)
    with np.errstate(all="ignore"):  # What is not finite is refused by the caller.
        return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[kind])


def check_types(header: Header) -> None:
    """Refuses a file in which a type looks like a slip.

    A type whose blocks are as long as those of another could be changed without any
    other trace. A file that is of one such type, as ``general.file_type`` tells, does
    not hold the other one, and none holds both kinds of 16 bits.

    Raises:
        DataError: Naming a tensor.
    """
    told = _told_type(header)
    first = {entry.type: entry.name for entry in reversed(header.tensors.values())}
    for pair in TWINS:
        for own, other in (pair, reversed(pair)):
            is_slip = told == own or (told != other and pair == TWINS[0])
            if other in first and is_slip and (told == own or own in first):
                raise header.refuse(
                    f"{first[other]} has type {other} in a file of type {own}."
                )


def _told_type(header: Header) -> str:
    """Returns the type of most tensors, as ``general.file_type`` tells it."""
    import gguf

    try:
        name = gguf.LlamaFileType(header.settings.get("general.file_type")).name
    except ValueError:
        return ""
    name = name.removeprefix("ALL_").removeprefix("MOSTLY_")
    return re.sub(r"(?<=_K)_[SML]$", "", name)
