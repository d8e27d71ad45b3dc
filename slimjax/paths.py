"""The one function for every path that a user gives, and the one for showing it.

A file's name is bytes. Python decodes names that are not UTF-8 with surrogates, which
the system's calls take but no strict encoder does: use a path as it is to open a file,
and `printable` wherever its name is written.
"""

import os
import stat
import tempfile
from pathlib import Path

from slimjax.errors import ConfigError


def user_path(text: str | bytes | os.PathLike, name: str = "a path") -> Path:
    """Returns a path as a user means it, ``~`` being the home folder.

    Args:
        text: The path, as it was typed or set.
        name: What the path is, for messages, such as ``--workdir``.

    Raises:
        ConfigError: If it is empty, holds a zero character, or begins with ``~`` where
            no home folder is known.

    Examples:
        >>> user_path("runs/demo").as_posix()
        'runs/demo'
        >>> user_path("~/runs") == Path.home() / "runs"
        True
    """
    plain = os.fsdecode(text)
    if not plain.strip():
        raise ConfigError(f"{name} is empty; name a file or a folder.")
    if "\0" in plain:
        raise ConfigError(f"{name}={plain!r} holds a zero character; no name may.")
    expanded = os.path.expanduser(plain)
    if expanded == plain and (plain == "~" or plain.startswith("~/")):
        raise ConfigError(
            f"{name}={printable(plain)}: no home folder is known; write the whole "
            "path, or set HOME."
        )
    return Path(expanded)


def check_utf8(path: Path, name: str) -> Path:
    """Returns a path whose name is UTF-8, as libraries in C++ need it.

    Raises:
        ConfigError: If it is not.
    """
    text = str(path.absolute())
    if printable(text) != text:
        raise ConfigError(
            f"{name}={printable(path)} is not UTF-8, and checkpoints and compiled "
            "programs need a folder whose name is. Name another one."
        )
    return path


def printable(text: object) -> str:
    r"""Returns a text in which bytes that are not UTF-8 stand as ``\xNN``.

    Examples:
        >>> print(printable("caf\udce9.txt"))
        caf\xe9.txt
    """
    try:
        content = str(text).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # A surrogate that stands for no byte.
        content = str(text).encode("utf-8", "surrogatepass")
    return content.decode("utf-8", "backslashreplace")


def cache_root() -> Path:
    """Returns the folder for what is computed once: ``SLIMJAX_CACHE``, or a default.

    The default is ``~/.cache/slimjax``. Where no home folder is known, as for a user
    without a name, it is a folder below ``TMPDIR`` that this user alone may write to.

    Raises:
        ConfigError: If another user may write to that folder, or its name is not UTF-8.
    """
    chosen = os.environ.get("SLIMJAX_CACHE")
    if chosen:
        return check_utf8(user_path(chosen, "SLIMJAX_CACHE"), "SLIMJAX_CACHE")
    try:
        folder = Path.home() / ".cache" / "slimjax"
    except RuntimeError:  # No HOME, and no name of the user.
        folder = _own_folder(Path(tempfile.gettempdir()) / f"slimjax-{os.getuid()}")
    return check_utf8(folder, "SLIMJAX_CACHE")


def _own_folder(folder: Path) -> Path:
    """Returns a folder in a place that all may write to, which is this user's alone."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_own or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"no home folder is known, and others may write to {printable(folder)}: "
            "set SLIMJAX_CACHE to a folder of your own."
        )
    return folder
