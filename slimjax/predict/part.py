"""A file of answers that a kill leaves half done, and the same command completes.

Answers are appended to ``FILE.part``, a window of examples at a time; when all are
there, the file is renamed. ``FILE.part.json`` holds what they depend on. A ``.part`` is
continued if that is the same, after the last whole window.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from slimjax.errors import CheckpointError, ConfigError
from slimjax.paths import printable
from slimjax.store.files import append_whole, finite, read_json, write_json

FORMAT = 1
WORDS = {
    "model": "another model",
    "input": "another input",
    "settings": "other settings",
}


class Part:
    """The answers of one command so far.

    Attributes:
        path: The finished file.
        part: The unfinished one.
        about: What is beside it: hashes of model, input and settings, and notes.
    """

    def __init__(self, path: Path, key: Mapping[str, Any] | None):
        """Touches nothing.

        Args:
            path: The finished file.
            key: What the answers depend on, by the names of `WORDS`: plain data. None
                for what cannot be continued.
        """
        self.path, self._key = path, None if key is None else dict(key)
        self.part = path.with_name(path.name + ".part")
        self._about_path = path.with_name(path.name + ".part.json")
        self.about: dict[str, Any] = {}

    @contextmanager
    def open(self, window: int, *, overwrite: bool) -> Iterator[int]:
        """Gives how many examples are done already, a multiple of the window.

        Args:
            window: Examples that are written at a time.
            overwrite: Whether a finished file, or a ``.part`` of something else, is
                replaced.

        Raises:
            ConfigError: If there is one, and it is not to be replaced.
        """
        _check_place(self.path)
        if self.path.exists() and not overwrite:
            raise ConfigError(
                f"--output={printable(self.path)} exists. Name another file, or add "
                "--overwrite."
            )
        with _locked(self.part):
            yield self._continue(window, overwrite=overwrite)

    def note(self, **notes: Any) -> None:
        """Keeps values beside the part, which a later run needs."""
        self.about |= notes
        if self._key is not None:
            write_json(self._about_path, self.about)

    def append(self, lines: list[bytes]) -> None:
        """Adds the lines of a window, all or none of them."""
        append_whole(self.part, b"".join(line + b"\n" for line in lines))

    def finish(self, write: Any = None) -> None:
        """Renames the part, or what `write` makes of it.

        Args:
            write: Called with the part and a new file beside it, for other formats
                than lines of JSON.
        """
        source = self.part
        if write is not None:
            source = self.path.with_name(f".{self.path.name}.new")
            write(self.part, source)
        with source.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(source, self.path)
        self.part.unlink(missing_ok=True)
        self._about_path.unlink(missing_ok=True)

    def _continue(self, window: int, *, overwrite: bool) -> int:
        """Returns how many examples of the part are kept; begins it if it is new."""
        found, key = self._read_about(), self._key or {}
        differs = next((n for n in WORDS if found.get(n) != key.get(n)), None)
        if self._key and differs is None and found.get("format") == FORMAT:
            self.about = found
            return self._keep_windows(window)
        if found and self.part.stat().st_size and not overwrite:
            of = WORDS[differs] if differs else "another version"
            raise ConfigError(
                f"{printable(self.part)} is of {of}. Remove it, name another --output, "
                "or add --overwrite."
            )
        os.truncate(self.part, 0)
        self._about_path.unlink(missing_ok=True)
        self.note(format=FORMAT, **key)
        return 0

    def _read_about(self) -> dict[str, Any]:
        try:
            return read_json(self._about_path, dict)
        except CheckpointError:
            return {}

    def _keep_windows(self, window: int) -> int:
        """Cuts the part behind its last whole window; returns its examples."""
        ends = [0]
        with self.part.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                if number % window == 0:
                    ends.append(file.tell())
        os.truncate(self.part, ends[-1])
        return (len(ends) - 1) * window


def to_line(value: Mapping[str, Any]) -> bytes:
    r"""Returns a dict as one line of strict JSON, UTF-8, without its end.

    What is not finite becomes null; half a character stands as its escape. Arrays and
    bytes, which a caller of Python may pass, become lists and texts.

    Examples:
        >>> to_line({"a": "é", "b": float("nan")})
        b'{"a": "\xc3\xa9", "b": null}'
    """
    options: dict[str, Any] = dict(ensure_ascii=False, allow_nan=False)
    try:
        text = json.dumps(value, **options, default=_plain)
    except ValueError:
        plain = json.loads(json.dumps(value, default=_plain))
        text = json.dumps(finite(plain), **options)
    return text.encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    """Returns what JSON has no form for as something that it has."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _check_place(path: Path) -> None:
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(
            f"--output={printable(path)}: {printable(folder)} is not a folder that can "
            "be written to, or the name is a folder's."
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps other processes from the same part; makes it if it is not there.

    Raises:
        ConfigError: If another process writes it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            shown = printable(path)
            raise ConfigError(f"{shown}: another process is writing it.") from None
        yield
    finally:
        os.close(handle)
