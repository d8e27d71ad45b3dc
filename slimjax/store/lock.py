"""One process to a folder: a lock of the system, which a kill lets go."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slimjax.errors import CheckpointError

LOCK = ".lock"


@contextmanager
def lock_folder(root: Path) -> Iterator[None]:
    """Keeps other processes from training in a folder; makes it if it is not there.

    The lock is the system's (``flock``), not the file's: it goes with the process
    that holds it, however that ends, and the file that stays behind means nothing.

    Raises:
        CheckpointError: If another process trains here, or the lock is a link.
    """
    root.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(root / LOCK, flags, 0o644)
    except OSError as error:
        raise CheckpointError(
            f"--workdir={root} cannot be locked: {error.strerror}."
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CheckpointError(
                f"--workdir={root}: another process is training here."
            ) from None
        yield
    finally:
        os.close(handle)
