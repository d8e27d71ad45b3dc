"""The header of a packed file, and the digest that finds each changed byte.

A packed file is a safetensors file. Its metadata have the format and the digest:
BLAKE2b with 16 bytes, as hex digits, of the whole file with zeros in place of the
digest. Files of earlier versions have none.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from typing import BinaryIO

from slimjax.nn.grids import Grid

FORMATS = ("slimjax-packed-2", "slimjax-packed-3")
"""The first one has groups of units with levels around zero, the second one any."""

ALIGNMENT = 8
CHUNK = 1 << 20
DIGEST_SIZE = 16
UNKNOWN = "0" * (2 * DIGEST_SIZE)
"""Stands for the digest where it is computed."""

File = BinaryIO | io.BytesIO


def write_header(file: File, lengths: Mapping[str, int], grid: Grid) -> dict[str, int]:
    """Writes the header, without its digest, and returns where each array begins.

    Args:
        file: A new file.
        lengths: The bytes of each array, in the order in which they lie.
        grid: Which elements share a step.
    """
    name_of = FORMATS[0] if grid.is_plain else FORMATS[1]
    header: dict = {"__metadata__": {"format": name_of, "digest": UNKNOWN}}
    starts, start = {}, 0
    for name, length in lengths.items():
        width = 2 if name in ("steps", "middles") else 1
        header[name] = {
            "dtype": f"U{8 * width}",
            "shape": [length // width],
            "data_offsets": [start, start + length],
        }
        starts[name], start = start, start + length
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    file.write(len(text).to_bytes(8, "little") + text)
    return {name: 8 + len(text) + start for name, start in starts.items()}


def write_digest(file: File) -> None:
    """Puts the digest into the header of a file that is complete otherwise.

    Args:
        file: What `write_header` began; it can be read and written.
    """
    digest, header = _digest(file, UNKNOWN), _read_header(file)
    file.seek(header.index(UNKNOWN.encode()))
    file.write(digest.encode())


def check_digest(file: File) -> None:
    """Compares a file with its digest; one of an earlier version has none.

    Args:
        file: A packed file, whose header fits its length.

    Raises:
        ValueError: If one of its bytes has changed.
    """
    metadata = json.loads(_read_header(file)[8:])["__metadata__"]
    known = metadata.get("digest")
    if known is None and list(metadata) == ["format"]:
        return
    if not isinstance(known, str) or _digest(file, known) != known:
        raise ValueError("its bytes have changed")


def _read_header(file: File) -> bytes:
    """Returns the length of the header and the header."""
    file.seek(0)
    length = file.read(8)
    return length + file.read(int.from_bytes(length, "little"))


def _digest(file: File, known: str) -> str:
    """Returns the digest of a file.

    Args:
        file: The file.
        known: What stands in it as its digest.
    """
    digest = hashlib.blake2b(digest_size=DIGEST_SIZE)
    digest.update(_read_header(file).replace(known.encode(), UNKNOWN.encode(), 1))
    while part := file.read(CHUNK):
        digest.update(part)
    return digest.hexdigest()
