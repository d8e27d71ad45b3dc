"""Which process does what: claims on named pieces of work, held for a lease.

A claim is a file that only one process can create (``O_CREAT | O_EXCL``). Its holder
touches it every 30 s. One that was not touched for the time of a lease is taken over:
it is renamed away, which only one process can do, and a new one is created. Ages are
those of files, by the clock of the file system, since clocks of hosts differ.

Three rules make that safe:

- Whoever takes over first tries the lock of the work's folder. If it is held, its owner
  lives, and the claim stays for another lease.
- A file counts as untouched only if this process has seen it so for the time between
  two touches. After a jump of the clock, or when a whole machine was asleep, holders
  thus have the time to touch it.
- A holder reads its claim before each write in the folder (`slimjax.store.owner`). If
  it finds another owner, it writes nothing and leaves.

A process that is known to have ended (`slimjax.tune.holder`) loses its claims at once.
"""

import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from slimjax.errors import (
    CheckpointError,
    ConfigError,
    FolderInUseError,
    LostClaimError,
)
from slimjax.store.lock import is_locked
from slimjax.store.owner import guarded
from slimjax.tune.claim_file import (
    LEASE_S,
    TOUCH_S,
    Claim,
    Sighting,
    clock_ns,
    create,
    look,
    name_holder,
    put_back,
)
from slimjax.tune.holder import has_ended

T = TypeVar("T")

NS = 1_000_000_000
UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
LEAST_LEASE_S, MOST_LEASE_S = 10.0, 7 * 24 * 3600.0


def parse_lease(text: str) -> float:
    """Returns the seconds that ``--lease`` asks for.

    Raises:
        ConfigError: If it is no time, or none in [10 s, 7 days].

    Examples:
        >>> parse_lease("10m"), parse_lease("90"), parse_lease("1.5h")
        (600.0, 90.0, 5400.0)
    """
    found = re.fullmatch(r"(\d+\.?\d*)([smh]?)", text)
    seconds = float(found[1]) * UNITS_S[found[2]] if found else 0.0
    if not LEAST_LEASE_S <= seconds <= MOST_LEASE_S:
        raise ConfigError(
            f"--lease={text} must be a time from 10s to 168h, such as 10m."
        )
    return seconds


class Claims:
    """The claims in one folder.

    Attributes:
        folder: Where they are.
        lease_s: Seconds without a touch after which a claim is taken over; those of its
            holder, if it was to have more.
        host: The name of this machine; empty for the system's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lease_s: float = LEASE_S,
        host: str = "",
        say: Callable[[str], None] = lambda _: None,
    ):
        """Creates nothing yet; `say` gets a line when a claim is taken over or lost."""
        self.folder, self.lease_s, self.host, self.say = folder, lease_s, host, say
        self._first_seen: dict[str, tuple[Any, float]] = {}

    def attempt(self, name: str, folder: Path, do: Callable[[], T]) -> T | None:
        """Does a piece of work, unless another process has it or takes it over.

        Args:
            name: The work; may have slashes.
            folder: The run folder in which it is done, and whose lock it takes.
            do: The work itself. It must look whether it is done already.

        Returns:
            What the work returns, or None if it is another process's.

        Raises:
            CheckpointError: If claims cannot be read or written.
        """
        try:
            with self.hold(name, folder) as is_mine:
                return do() if is_mine else None
        except FolderInUseError:
            return None
        except LostClaimError as error:
            self.say(str(error))
            return None

    @contextlib.contextmanager
    def hold(self, name: str, folder: Path | None = None) -> Iterator[bool]:
        """Claims a name while it is entered; yields whether that was possible.

        Args:
            name: The name.
            folder: Where its holder writes. Each write there may raise
                `LostClaimError`, after a pause that was longer than the lease.
        """
        claim = self.take(name, folder)
        if claim is None:
            yield False
            return
        try:
            with guarded(folder, claim.check) if folder else contextlib.nullcontext():
                yield True
        finally:
            claim.drop()

    def take(self, name: str, folder: Path | None = None) -> Claim | None:
        """Claims a name, unless another process has it; the caller must drop it."""
        path, touch_s = self.path(name), min(TOUCH_S, self.lease_s / 4)
        more = {"lease_s": self.lease_s}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            claim = create(path, touch_s, self.host, more)
            if claim is None and self._remove_stale(name, folder):
                claim = create(path, touch_s, self.host, more)
            return claim
        except OSError as error:
            raise CheckpointError(
                f"{path}, a claim on a piece of work, cannot be written: "
                f"{error.strerror}."
            ) from error

    def path(self, name: str) -> Path:
        """Returns the file of a claim."""
        return self.folder / f"{name}.json"

    def describe(self, name: str) -> str:
        """Describes the holder of a claim, and whether its lease cannot end."""
        path = self.path(name)
        found = look(path)
        if found is None:
            return "another process"
        ahead_s = (found.mtime_ns - clock_ns(path.parent)) / NS
        words = f"{name_holder(found.record)} since {found.record.get('time', '?')}"
        if ahead_s > TOUCH_S:
            words += f"; the file system's clock ran back by {ahead_s:.0f} s: if that "
            words += f"process has ended, remove {path}"
        return words

    def _remove_stale(self, name: str, folder: Path | None) -> bool:
        """Removes a stale claim; of several processes one alone gets True."""
        path = self.path(name)
        found = look(path)
        if found is None:
            return True
        if not self._is_stale(name, found):
            return False
        if folder is not None and is_locked(folder):
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)
            return False
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        moved = look(aside)
        is_same = moved is not None and moved.identity == found.identity
        if not is_same:  # It was touched just now, or is another one already.
            put_back(aside, path)
            return False
        aside.unlink(missing_ok=True)
        self.say(f"taking over {name} from {name_holder(found.record)}")
        return True

    def _is_stale(self, name: str, found: Sighting) -> bool:
        """Whether the holder of a claim has ended, or its lease has."""
        if has_ended(found.record, self.host):
            return True
        now_s = time.monotonic()
        identity, first_s = self._first_seen.get(name, (None, now_s))
        if identity != found.identity:
            self._first_seen[name] = found.identity, now_s
            return False
        theirs_s = found.record.get("lease_s")
        lease_s = max(self.lease_s, theirs_s if isinstance(theirs_s, float) else 0.0)
        if now_s - first_s < min(TOUCH_S, lease_s / 4):
            return False
        age_ns = clock_ns(self.path(name).parent) - found.mtime_ns
        return age_ns > lease_s * NS
