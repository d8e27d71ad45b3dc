"""Globs that end: each real folder is walked once, whatever links lead to it.

`glob.glob` follows links for as long as they lead somewhere; a link from a folder to
itself multiplies its files without end. Here a folder is known by its device and
inode, and of several ways to it the shortest counts.
"""

import fnmatch
import glob
import os
from collections.abc import Iterator
from typing import NamedTuple

ANY_DEPTH = "**"


class _Place(NamedTuple):
    """A path that was reached, and the parts of the pattern that are left to match."""

    path: str
    rest: tuple[str, ...]


def expand(pattern: str) -> list[str]:
    """Returns the files that a glob matches, sorted, each real file once.

    ``**`` stands for any number of folders; as in a shell, ``*`` and ``**`` match no
    name that begins with a dot.

    Args:
        pattern: A glob, the home folder already expanded.
    """
    drive, tail = os.path.splitdrive(pattern)
    relative = tail.lstrip("/" + os.sep)
    root = drive + tail[: len(tail) - len(relative)]
    parts = tuple(relative.replace(os.sep, "/").split("/"))
    level, seen, found = [_Place(root, parts)], set(), {}
    while level:  # All paths of one length after those that are shorter.
        following: list[_Place] = []
        for place in level:
            for step in _advance(place):
                if step.rest:
                    identity = (_identify(step.path or "."), step.rest)
                    if identity[0] is not None and identity not in seen:
                        seen.add(identity)
                        following.append(step)
                elif os.path.isfile(step.path):
                    found.setdefault(os.path.realpath(step.path), step.path)
        level = sorted(following)
    return sorted(found.values())


def _advance(place: _Place) -> Iterator[_Place]:
    """Yields where one more part of the pattern leads."""
    part, *others = place.rest
    rest = tuple(others)
    if part == ANY_DEPTH:
        yield from _advance(_Place(place.path, rest or ("*",)))
        for name in _names(place.path):
            path = os.path.join(place.path, name)
            if not name.startswith(".") and os.path.isdir(path):
                yield _Place(path, place.rest)
    elif glob.has_magic(part):
        for name in fnmatch.filter(_names(place.path), part):
            if part.startswith(".") or not name.startswith("."):
                yield _Place(os.path.join(place.path, name), rest)
    else:
        path = os.path.join(place.path, part)
        if os.path.lexists(path):
            yield _Place(path, rest)


def _names(folder: str) -> list[str]:
    """Returns the names in a folder, sorted; none where it cannot be read."""
    try:
        return sorted(os.listdir(folder or "."))
    except (OSError, ValueError):
        return []


def _identify(folder: str) -> tuple[int, int] | None:
    """Returns what a folder is known by, or None if it is not one."""
    try:
        status = os.stat(folder)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino)
