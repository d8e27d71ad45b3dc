"""Which process runs what: claims that processes on several hosts respect.

A claim is a file that only one process can create (``O_CREAT | O_EXCL``), with its
host, process id and time. A process that was killed leaves its claim behind: another
one on the same host sees that there is no such process and takes the claim over, under
a lock, since two might see it at once. What another host left behind is for people to
decide: they remove the file.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Claims:
    """The claims in one folder.

    Attributes:
        folder: Where they are.
        host: The name of this machine.
    """

    def __init__(self, folder: Path, host: str | None = None):
        """Creates nothing yet."""
        self.folder, self.host = folder, host or socket.gethostname()
        self._held: set[str] = set()

    @contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        """Claims a name while it is entered; yields whether that was possible."""
        taken = self.take(name)
        try:
            yield taken
        finally:
            if taken:
                self.drop(name)

    def take(self, name: str) -> bool:
        """Claims a name, unless a living process has it."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._create(path) or (self.is_stale(name) and self._take_over(name)):
            self._held.add(name)
            return True
        return False

    def drop(self, name: str) -> None:
        """Gives a claim back."""
        self._held.discard(name)
        self.path(name).unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Returns the file of a claim."""
        return self.folder / f"{name}.json"

    def read(self, name: str) -> dict[str, Any] | None:
        """Returns the holder of a claim and its time; None if there is none."""
        try:
            found = json.loads(self.path(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            found = None  # Just created, and not yet written.
        return found if isinstance(found, dict) else {}

    def is_stale(self, name: str) -> bool:
        """Whether a claim was left behind by a process of this host."""
        claim = self.read(name) or {}
        pid = claim.get("pid")
        if claim.get("host") != self.host or not isinstance(pid, int):
            return False
        if pid == os.getpid():  # A number may come again, after a reboot as a rule.
            return name not in self._held
        return not _is_alive(pid)

    def describe(self, name: str) -> str:
        """Describes the holder of a claim, and what to do if it has ended."""
        claim = self.read(name) or {}
        holder = f"process {claim.get('pid', '?')} on {claim.get('host', '?')}"
        since = claim.get("time", "?")
        return f"{holder} since {since}; if it is gone, remove {self.path(name)}"

    def _create(self, path: Path) -> bool:
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"host": self.host, "pid": os.getpid(), "time": now}, file)
        return True

    def _take_over(self, name: str) -> bool:
        """Replaces a stale claim; processes of one host do so one after the other."""
        with open(self.folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.is_stale(name):  # Still: another one may have been faster.
                self.path(name).unlink(missing_ok=True)
            return self._create(self.path(name))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
