"""The file of a claim, and the process that holds it."""

import contextlib
import dataclasses
import json
import os
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from slimjax.errors import CheckpointError, LostClaimError
from slimjax.tune.holder import describe_process

LEASE_S = 600.0
TOUCH_S = 30.0
NUM_READINGS, SECONDS_BETWEEN_READINGS = 5, 0.1
"""A claim that another process moves away in error is back within so many readings."""


@dataclasses.dataclass(frozen=True)
class Sighting:
    """A claim's file at one time.

    Attributes:
        record: Its content; empty if that is damaged, or not written yet.
        mtime_ns: When it was touched, by the clock of the file system.
    """

    record: dict[str, Any]
    mtime_ns: int

    identity = property(lambda self: (self.record.get("owner"), self.mtime_ns))


class Claim:
    """A claim that this process holds; a thread touches its file.

    Attributes:
        path: Its file.
        owner: What tells this claim from all others.
    """

    def __init__(self, path: Path, owner: str, touch_s: float):
        """Begins to touch the file, which exists."""
        self.path, self.owner, self._touch_s = path, owner, touch_s
        self._ended = threading.Event()
        threading.Thread(target=self._touch, name="claim", daemon=True).start()

    def check(self) -> None:
        """Passes if the claim is still this process's.

        Raises:
            LostClaimError: If another process has taken it over.
            CheckpointError: If it cannot be read.
        """
        for _ in range(NUM_READINGS):
            with contextlib.suppress(CheckpointError):
                if self.is_mine():
                    return
            time.sleep(SECONDS_BETWEEN_READINGS)
        found = look(self.path)
        holder = name_holder(found.record if found else {})
        raise LostClaimError(
            f"{self.path} is now a claim of {holder}: this process did not touch it in "
            "time, and leaves the work to that one."
        )

    def is_mine(self) -> bool:
        """Whether the file still has this owner."""
        found = look(self.path)
        return found is not None and found.record.get("owner") == self.owner

    def drop(self) -> None:
        """Gives the claim back; leaves another owner's file alone."""
        self._ended.set()
        with contextlib.suppress(OSError, CheckpointError):
            if self.is_mine():
                self.path.unlink(missing_ok=True)

    def _touch(self) -> None:
        """Touches the file until the claim is dropped; what fails is tried again."""
        while not self._ended.wait(self._touch_s):
            with contextlib.suppress(OSError, CheckpointError):
                if self.is_mine():
                    os.utime(self.path)


def create(path: Path, touch_s: float, host: str, more: dict[str, Any]) -> Claim | None:
    """Creates the file of a claim; None if there is one.

    Args:
        path: The file.
        touch_s: Seconds between two touches.
        host: The name of this machine; empty for the system's.
        more: What the file holds beside the owner.

    Raises:
        OSError: If it cannot be written; it is then not there.
    """
    owner = uuid.uuid4().hex
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"owner": owner, **describe_process(host), **more}, file)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return Claim(path, owner, touch_s)


def look(path: Path) -> Sighting | None:
    """Returns what a claim's file holds, and when it was touched; None without a file.

    It is opened before its time is read, since hosts that share a file system compare
    what they know of a file with the server when they open it.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            touched_ns, content = (
                os.fstat(file.fileno()).st_mtime_ns,
                file.read(1 << 16),
            )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror}. If no process works there, "
            "remove it."
        ) from error
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        record = None
    return Sighting(record if isinstance(record, dict) else {}, touched_ns)


def clock_ns(folder: Path) -> int:
    """Returns the time by the clock of a folder's file system: that of a new file.

    Raises:
        CheckpointError: If there cannot be one.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=".clock.", dir=folder)
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be written, so it is not known whether claims in it are "
            f"old: {error.strerror}."
        ) from error
    try:
        return os.fstat(handle).st_mtime_ns
    finally:
        os.close(handle)
        os.unlink(name)


def put_back(aside: Path, path: Path) -> None:
    """Gives a claim its name again, unless another one has it by now."""
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    except OSError:  # The file system knows no links.
        if not path.exists():
            aside.rename(path)
    aside.unlink(missing_ok=True)


def name_holder(record: dict[str, Any]) -> str:
    """Returns the holder of a claim in words."""
    if not record:
        return "an unknown process"
    return f"process {record.get('pid', '?')} on {record.get('host', '?')}"
