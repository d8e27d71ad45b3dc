"""Prepared things on disk, kept under a hash of what they were made from.

An entry is a folder with a manifest. It is written beside its place and renamed into
it, so that a half-written one is never seen and any number of processes may prepare
the same; one that has been damaged is made anew.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from slimjax.errors import DataError
from slimjax.paths import cache_root
from slimjax.text.files import show

T = TypeVar("T")
Info = dict[str, Any]

MANIFEST = "manifest.json"
DIGEST_BYTES = 1 << 26  # Of a larger file only the size is compared: it must be quick.
_STALE_SECONDS = 24 * 3600
_ATTEMPTS = 5


def find_cache() -> Path:
    """Returns the cache folder: ``SLIMJAX_CACHE``, or ``~/.cache/slimjax``."""
    return cache_root()


def open_entry(
    name: str, build: Callable[[Path], Info], load: Callable[[Path, Info], T]
) -> T:
    """Loads an entry of the cache, after making it where it is missing or damaged.

    Args:
        name: Name of the entry, with the hash of what it is made from.
        build: Fills an empty folder, and returns what to note in the manifest.
        load: Reads the folder, given that note.

    Raises:
        DataError: If the cache cannot be written to, and whatever `build` raises.
    """
    path = find_cache() / name
    for _ in range(_ATTEMPTS):
        info = read_manifest(path)
        if info is not None:
            # What fails here was removed meanwhile, or is wrong where sizes agree.
            with contextlib.suppress(OSError, ValueError, KeyError, DataError):
                return load(path, info)
        try:
            if info is not None:
                _discard(path)
            _make(path, build)
        except OSError as error:
            raise DataError(
                f"The cache {show(str(path.parent))} cannot be written to: "
                f"{show(error.strerror or str(error))}. Set SLIMJAX_CACHE to a folder "
                "with room."
            ) from None
    raise DataError(f"The cache entry {show(str(path))} is damaged again and again.")


def read_manifest(path: Path) -> Info | None:
    """Returns the note of an entry, or None unless all its files are as written."""
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        files, info = manifest["files"], manifest["info"]
        if manifest["digest"] != hash_json(files, info):
            return None
        whole = all(_describe(path / name) == note for name, note in files.items())
        return info if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _make(path: Path, build: Callable[[Path], Info]):
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path.parent)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=path.parent))
    try:
        info = json.loads(json.dumps(build(draft)))
        files = {file.name: _describe(file) for file in sorted(draft.iterdir())}
        manifest = {"files": files, "info": info, "digest": hash_json(files, info)}
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
        if read_manifest(path) is None:  # Else another process was faster.
            _discard(path)
            _rename_unless_taken(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _rename_unless_taken(draft: Path, path: Path):
    try:
        os.rename(draft, path)
    except OSError:
        if not path.exists():
            raise


def _discard(path: Path):
    """Moves an entry out of the way, then removes it; it may be gone already."""
    aside = Path(tempfile.mkdtemp(prefix=".draft-", dir=path.parent))
    try:
        os.rename(path, aside / "old")
    except FileNotFoundError:
        pass
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _remove_stale(folder: Path):
    """Removes what a killed process left behind."""
    for draft in folder.glob(".draft-*"):
        try:
            if time.time() - _last_change(draft) > _STALE_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)
        except OSError:
            continue


def _last_change(folder: Path) -> float:
    """Returns when a folder, or a file in it, was written to: files grow in place."""
    return max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])


def _describe(path: Path) -> Info:
    size = path.stat().st_size
    if size > DIGEST_BYTES:
        return {"size": size}
    with path.open("rb") as file:
        return {"size": size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def hash_json(*parts: Any) -> str:
    """Returns the SHA-256 of plain values, for a name in the cache."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
