"""One process to a folder: a lock of the system, which a kill lets go.

The lock is the system's (``flock``), not the file's: it goes with the process that
holds it, however that ends, and the file that stays behind means nothing.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slimjax.errors import CheckpointError, FolderInUseError

LOCK = ".lock"
POLLING_SECONDS = 0.2


@contextmanager
def lock_folder(root: Path) -> Iterator[None]:
    """Keeps other processes from training in a folder; makes it if it is not there.

    Raises:
        FolderInUseError: If another process trains here.
        CheckpointError: If the lock is a link, or the folder cannot be written to.
    """
    with _open_lock(root, f"--workdir={root}") as handle:
        if not _try_lock(handle, f"--workdir={root}"):
            raise FolderInUseError(
                f"--workdir={root}: another process is training here."
            )
        yield


def is_locked(root: Path) -> bool:
    """Whether another process has the lock of a folder now; creates nothing.

    Raises:
        CheckpointError: If the lock is a link, or cannot be tried.
    """
    try:
        handle = os.open(root / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CheckpointError(f"{root} cannot be locked: {error.strerror}.") from error
    try:
        return not _try_lock(handle, str(root))
    finally:
        os.close(handle)


@contextmanager
def take_turn(root: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Lets one process at a time pass; makes the folder if it is not there.

    Args:
        root: The folder.
        wait: Called again and again while another process is in it; may raise.

    Raises:
        CheckpointError: If the lock is a link, or the folder cannot be written to.
    """
    with _open_lock(root, str(root)) as handle:
        while not _try_lock(handle, str(root)):
            wait()
            time.sleep(POLLING_SECONDS)
        yield


@contextmanager
def _open_lock(root: Path, name: str) -> Iterator[int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / LOCK, flags, 0o644)
    except OSError as error:
        raise CheckpointError(f"{name} cannot be locked: {error.strerror}.") from error
    try:
        yield handle
    finally:
        os.close(handle)


def _try_lock(handle: int, name: str) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise CheckpointError(f"{name} cannot be locked: {error.strerror}.") from error
    return True
