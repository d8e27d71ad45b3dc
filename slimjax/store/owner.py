"""Who may write to a folder: asked before each write, where claims decide it.

A process may be paused for so long that another one takes over its work. Whoever does
work under a claim (`slimjax.tune.claims`) enters `guarded`, and the functions that
write files call `check_owner`. Without a guard, the lock of a folder decides alone.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_checks: dict[str, Callable[[], None]] = {}


@contextmanager
def guarded(root: Path, check: Callable[[], None]) -> Iterator[None]:
    """Has `check` called before each write below a folder, while it is entered.

    It holds for all threads, since checkpoints are written by one of their own.

    Args:
        root: The folder.
        check: Raises `LostClaimError` if another process has the folder now.
    """
    place = _as_folder(root)
    _checks[place] = check
    try:
        yield
    finally:
        del _checks[place]


def check_owner(path: Path) -> None:
    """Passes if this process may write to a path, or nothing guards it.

    Raises:
        LostClaimError: If another process has taken the folder over.
    """
    if not _checks:
        return
    place = _as_folder(path)
    for root, check in list(_checks.items()):
        if place.startswith(root):
            check()


def _as_folder(path: Path) -> str:
    return os.path.join(os.path.abspath(path), "")
