"""The manifest of a checkpoint: what is in it, by size and crc32, and its own seal."""

import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from slimjax.errors import CheckpointError
from slimjax.store.files import NOT_THERE, finite, read_json, sync_folder, unread

FORMAT = "slimjax-checkpoint-2"
MANIFEST = "manifest.json"

NAME = re.compile(r"\d{8,}\.\d{2,}")
"""Names of checkpoints: steps taken and seams passed."""


def name_of(step: int, seam: int) -> str:
    """Returns the name of a checkpoint.

    Examples:
        >>> name_of(120, 2)
        '00000120.02'
    """
    return f"{step:08d}.{seam:02d}"


def age_of(name: str) -> tuple[int, int]:
    """Returns the numbers in a checkpoint's name, by which the oldest comes first.

    Examples:
        >>> sorted(["00000120.100", "00000120.99"], key=age_of)
        ['00000120.99', '00000120.100']
    """
    step, seam = name.split(".")
    return int(step), int(seam)


def list_names(directory: Path) -> list[str]:
    """Returns the names of the checkpoints in a folder, oldest first.

    One without a manifest does not count, and neither does a link.

    Raises:
        UnreadableError: If the file system does not tell.
    """
    is_whole = lambda path: not path.is_symlink() and _is_marked(path)
    return _names(directory, is_whole)


def list_unfinished(directory: Path) -> list[str]:
    """Returns the names of folders like checkpoints without a manifest."""
    return _names(directory, lambda path: not _is_marked(path))


def _names(directory: Path, counts: Callable[[Path], bool]) -> list[str]:
    try:
        paths = [path for path in directory.iterdir() if NAME.fullmatch(path.name)]
        return sorted((path.name for path in paths if counts(path)), key=age_of)
    except OSError as error:
        if error.errno in NOT_THERE:
            return []
        raise unread(directory, error) from error


def _is_marked(folder: Path) -> bool:
    """Whether a folder has a manifest; an error that leaves it open is raised."""
    try:
        return stat.S_ISREG((folder / MANIFEST).stat().st_mode)
    except OSError as error:
        if error.errno in NOT_THERE:
            return False
        raise


def seal(entry: dict[str, Any]) -> dict[str, Any]:
    """Returns the manifest with its format and the crc32 of all its content."""
    entry = finite({**entry, "format": FORMAT})
    return {**entry, "crc32": _crc(entry)}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the manifest in a checkpoint's folder.

    Raises:
        CheckpointError: If it is missing, damaged or of another format.
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{folder} is not of format {FORMAT}.")
    found = manifest.pop("crc32", None)
    if found != _crc(manifest):
        raise CheckpointError(f"{folder} is damaged: {MANIFEST} has changed.")
    for key in ("files", "leaves", "history"):
        if not isinstance(manifest.get(key), dict):
            raise CheckpointError(f"{folder}: manifest has no {key}.")
    for leaf, entry in manifest["leaves"].items():
        if not isinstance(entry, dict) or set(entry) != {"shape", "dtype", "crc32"}:
            raise CheckpointError(f"{folder}: manifest does not describe {leaf}.")
    return manifest


def _crc(entry: dict[str, Any]) -> int:
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return zlib.crc32(text.encode())


def file_table(
    folder: Path,
    *,
    sync: bool = False,
    known: Mapping[str, list[int]] = MappingProxyType({}),
) -> dict[str, list[int]]:
    """Returns size and crc32 of every file below a folder, by relative path.

    Args:
        folder: Where to look; links are not followed, and count as empty files.
        sync: Whether to have the system write each of them, and the folders that
            name them, to the disk.
        known: Size and crc32 of files that need not be read here.
    """
    table = {}
    for parent, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            path = Path(parent, name)
            key = path.relative_to(folder).as_posix()
            if key in known:
                table[key] = known[key]
            else:
                table[key] = [0, 0] if path.is_symlink() else _weigh(path, sync=sync)
        if sync:
            sync_folder(Path(parent))
    return dict(sorted(table.items()))


def _raise(error: OSError) -> None:
    """Raises what keeps a folder from being listed, unless it is not there."""
    if error.errno not in NOT_THERE:
        raise error


def _weigh(path: Path, *, sync: bool) -> list[int]:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
        if sync:
            os.fsync(file.fileno())
        return [file.tell(), crc]
