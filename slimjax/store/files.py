"""Files that are whole or not there, and JSON that is strict."""

import contextlib
import errno
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, BinaryIO

from slimjax.errors import CheckpointError, UnreadableError
from slimjax.processes import is_first
from slimjax.store.faults import fault_point
from slimjax.store.owner import check_owner

MAX_DETAIL = 200  # Characters of a library's own words in a message.
OS_ERROR = r"(?:os_error_code='|OS error:? |Errno )(\d+)"
"""How libraries tell the number of the system's error."""

MAX_JSON_BYTES = 1 << 26
"""Largest JSON file that is read: no file of a run comes near it."""

NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
"""Errors that say for sure that there is no such file."""


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file so that a kill at any time leaves the old one or the new one.

    Of several processes the first one writes, and the others leave it at that.
    """
    if not is_first():
        return
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yields a new file, which takes the place of another one if nothing goes wrong.

    What was written to it can be read.
    """
    check_owner(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        fault_point("rename-before")
        check_owner(path)
        os.replace(temporary, path)
        fault_point("rename-after")
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def append_whole(path: Path, content: bytes) -> None:
    """Adds to the end of a file, all or nothing; makes it if it is not there.

    Of several processes the first one writes, and the others leave it at that.

    Raises:
        OSError: If it cannot be written, or is a link.
    """
    if not is_first():
        return
    check_owner(path)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    handle = os.open(path, flags, 0o644)
    try:
        size = os.fstat(handle).st_size
        try:
            if os.write(handle, content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Has the system write the names of a folder's files to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Writes strict JSON atomically; numbers that are not finite become null."""
    text = json.dumps(finite(value), indent=2, allow_nan=False, ensure_ascii=False)
    # A surrogate stands for a byte of a file's name; its escape is JSON as well.
    write_atomic(path, (text + "\n").encode("utf-8", "backslashreplace"))


def read_json(path: Path, kind: type | UnionType = object) -> Any:
    """Reads a JSON file.

    Args:
        path: The file.
        kind: What it holds: `dict` or `list`.

    Raises:
        UnreadableError: If the file system does not let it be read.
        CheckpointError: If it is missing, damaged, far too large or of another kind.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{path} is damaged: it is far too large.")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, kind):
            raise ValueError("it holds something else")
        return content
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; is this a run folder?") from None
    except OSError as error:
        raise unread(path, error) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error


def unread(path: Path, error: OSError) -> CheckpointError:
    """Returns what to raise for a file of a run that the system does not give.

    Examples:
        >>> unread(Path("a"), OSError(5, "Input/output error"))
        UnreadableError('a cannot be read: [Errno 5] Input/output error.')
        >>> unread(Path("a"), OSError(20, "Not a directory"))
        CheckpointError('a cannot be read: [Errno 20] Not a directory.')
    """
    kind = CheckpointError if error.errno in NOT_THERE else UnreadableError
    return kind(f"{path} cannot be read: {error}.")


def reason_of(error: BaseException) -> str:
    """Returns why a file cannot be written, the system's own reason first.

    Libraries wrap that reason in their own errors, where it may stand anywhere.

    Examples:
        >>> reason_of(ValueError("Failed at /a/long/path [os_error_code='28']"))
        'No space left on device'
        >>> reason_of(OSError(28, "No space left on device"))
        'No space left on device'
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    found = re.search(OS_ERROR, str(error))
    return os.strerror(int(found[1])) if found else lines[0][:MAX_DETAIL].rstrip(".")


def finite(value: Any) -> Any:
    """Returns plain data with None in place of nan and infinities.

    Examples:
        >>> finite({"a": [1.0, float("nan")]})
        {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
