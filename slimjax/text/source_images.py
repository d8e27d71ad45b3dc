"""Pictures that examples name: files, or arrays of pixels. None is decoded here."""

import dataclasses
import hashlib
import os
from functools import lru_cache

import numpy as np

from slimjax.errors import ConfigError
from slimjax.paths import printable, user_path
from slimjax.text.files import show
from slimjax.text.reading import BadDocument
from slimjax.text.records import Record

MAX_CHANNELS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class SourceImage:
    """A picture of an example.

    Attributes:
        path: Its file, or the place of its pixels, for messages.
        digest: SHA-256 of the file, or of the pixels: equal for equal pictures.
        pixels: ``[H W]`` or ``[H W C]``, uint8 or uint16, of a picture that is no file;
            else None.
    """

    path: str
    digest: bytes
    pixels: np.ndarray | None = None


def read_picture(
    record: Record, keys: tuple[str | int, ...]
) -> SourceImage | BadDocument:
    """Returns the picture that a field names by a path, or holds as an array.

    A path is relative to the folder of the record, or else to that of its file. It must
    not lead out of that folder, by ``..`` or by a link. Records that are a person's own
    may have whole paths, and without a folder any path.
    """
    value = record.get(keys[0])
    if isinstance(value, BadDocument):
        return value
    field = f"field {show(str(keys[0]))}"
    if isinstance(value, np.ndarray):
        found = make_picture(value, record.line.where)
        if isinstance(found, str):
            return record.line.bad("bad_image", f"{field} {found}")
        return found
    if not isinstance(value, str) or not value.strip():
        problem = f"{field} is {show(value)}, not the path of an image."
        return record.line.bad("wrong_type", problem)
    if printable(value) != value:
        problem = f"{field} names the image {show(value)}, which has half a character."
        return record.line.bad("not_utf8", f"{problem} Write UTF-8.")
    path = _locate(record, value)
    if path is None:
        problem = f"{field} names {show(value)}, which leads out of its folder."
        return record.line.bad("image_outside", problem)
    try:
        if os.path.isfile(path):
            found = os.stat(path)
            return SourceImage(path, _hash_file(path, found.st_size, found.st_mtime_ns))
        why = "is a folder" if os.path.isdir(path) else "is not there"
    except OSError as error:
        why = f"cannot be read: {show(error.strerror or str(error))}"
    hint = "" if record.is_listed else " Paths are relative to config.data.image_dir."
    problem = f"{field} names the image {show(path)}, which {why}.{hint}"
    return record.line.bad("no_image", problem)


def make_picture(pixels: np.ndarray, path: str) -> SourceImage | str:
    """Returns the picture of an array, or what is wrong with the array.

    Args:
        pixels: ``[H W]`` or ``[H W C]`` with up to four channels, uint8 or uint16.
        path: Stands for a file in messages.
    """
    is_grid = pixels.ndim == 2 or (
        pixels.ndim == 3 and 1 <= pixels.shape[2] <= MAX_CHANNELS
    )
    if not is_grid or not pixels.size or pixels.dtype not in (np.uint8, np.uint16):
        shape = " x ".join(map(str, pixels.shape))
        return (
            f"has {pixels.dtype} numbers of shape {shape}, not uint8 or uint16 pixels "
            "[height, width, channels]."
        )
    about = f"{pixels.dtype} {pixels.shape}".encode()
    digest = hashlib.sha256(about + np.ascontiguousarray(pixels).tobytes()).digest()
    return SourceImage(path, digest, pixels)


def _locate(record: Record, value: str) -> str | None:
    """Returns the path of a picture; None if it leads out of the record's folder."""
    if "\0" in value:
        return None
    if record.is_own:
        try:
            value = os.fspath(user_path(value))
        except ConfigError:
            return None
        if os.path.isabs(value) or not record.folder:
            return value
    folder = record.folder or os.path.dirname(record.line.path)
    return _enter(folder, value, record.is_listed)


@lru_cache(maxsize=1 << 16)
def _enter(folder: str, value: str, is_listed: bool) -> str | None:
    """Returns a path below a folder; None if it leads out of it."""
    path = os.path.normpath(os.path.join(folder, value))
    resolve = os.path.abspath if is_listed else os.path.realpath
    root = resolve(folder or ".")
    return path if os.path.commonpath([root, resolve(path)]) == root else None


@lru_cache(maxsize=1 << 16)
def _hash_file(path: str, size: int, mtime_ns: int) -> bytes:
    """Returns the hash of a file, which many questions may name, read once."""
    del size, mtime_ns
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
