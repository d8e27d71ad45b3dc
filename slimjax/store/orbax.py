"""Orbax as checkpoints need it: one line for a failure, and nothing leaked.

The caller reports a failed write or read in one line; Orbax and Python would repeat it
in many. Process-wide settings stand here, so that none is hidden elsewhere.
"""

import ast
import logging
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
import tensorstore as ts
from jaxtyping import PyTree

from slimjax.errors import CheckpointError, NoMemoryError, UnreadableError
from slimjax.memory import describe, is_out_of_memory
from slimjax.paths import printable
from slimjax.store.files import NOT_THERE, OS_ERROR

UNREAD = r"coroutine 'Store\._get_array_metadatas' was never awaited"
"""What Python warns of files that Orbax dropped when a damaged one stopped it."""

MORE_MEMORY = "Free some, or take devices with more memory."

_TO_JSON = ts.KvStore.Spec.to_json


def keep_quiet() -> None:
    """Has Orbax print and leak nothing; to be called before it writes or reads."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", UNREAD, RuntimeWarning)
    _leave_json_unread()
    _hush_closed_loops()


def begin_to_write(folder: Path, state: PyTree) -> ocp.StandardCheckpointer:
    """Returns the writer of arrays into a folder, to be waited for and closed."""
    keep_quiet()
    writer = ocp.StandardCheckpointer()
    writer.save(folder, state)
    return writer


def read_arrays(folder: Path, *target: PyTree) -> Any:
    """Returns the arrays of a folder, placed and shaped as a target, if there is one.

    Raises:
        UnreadableError: If memory or the file system does not let them be read.
        CheckpointError: If any is missing or damaged.
    """
    keep_quiet()
    if printable(folder) != str(folder):
        raise CheckpointError(
            f"{printable(folder.parent)} is not UTF-8, and checkpoints are read from "
            "folders whose names are: rename or move the folder."
        )
    try:
        with ocp.StandardCheckpointer() as reader:
            return reader.restore(folder, *target)
    except Exception as error:  # Orbax has many names for damage.
        kind, reason = _hindrance(error)
        if reason:
            raise kind(f"{folder.parent} cannot be read: {reason}") from error
        first = str(error).strip().splitlines() or [type(error).__name__]
        message = f"{folder.parent} is damaged: {first[0][:200]}"
        raise CheckpointError(message) from error


def _hindrance(error: BaseException) -> tuple[type[UnreadableError], str]:
    """Returns what keeps arrays from being read that may be whole; '' if nothing.

    Examples:
        >>> _hindrance(ValueError("NOT_FOUND: Error opening [os_error_code='2']"))[1]
        ''
        >>> _hindrance(ValueError("Error reading a file [os_error_code='5']"))[1]
        'Input/output error.'
    """
    cause: BaseException | None = error
    while cause is not None:
        if is_out_of_memory(cause):
            return NoMemoryError, f"out of memory: {describe(cause)} {MORE_MEMORY}"
        found = re.search(OS_ERROR, str(cause))
        code = cause.errno if isinstance(cause, OSError) else found and int(found[1])
        if code and code not in NOT_THERE:
            return UnreadableError, f"{os.strerror(code)}."
        cause = cause.__cause__
    return UnreadableError, ""


def _hush_closed_loops() -> None:
    """Has Python not report writes that were under way when another one failed.

    Orbax closes its event loop at the first failure, and each write that ends after it
    would be reported in twenty lines; the failure itself is one line.
    """
    report = sys.unraisablehook
    if getattr(report, "__name__", "") == "report_others":
        return

    def report_others(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = report_others


def _leave_json_unread() -> None:
    """Has Orbax take no JSON from tensorstore, which leaks each string of it.

    In tensorstore 0.1.86, that is; each save and each restore would leave behind some
    200 bytes an array for its place, and 20 kB a reading of counters, which Orbax does
    for a log unseen here. A spec's text has the content of its JSON.
    """
    ts.experimental_collect_matching_metrics = lambda *_: []
    kind: Any = ts.KvStore.Spec
    kind.to_json = _read_text


def _read_text(spec: ts.KvStore.Spec) -> Any:
    """Returns the JSON of a spec, from its text, ``KvStore.Spec({...})``.

    Examples:
        >>> _read_text(ts.KvStore.Spec({"driver": "file", "path": "/a b/"}))
        {'driver': 'file', 'path': '/a b/'}
    """
    text = repr(spec)
    if "\\x" in text:  # Bytes of what is not ASCII, which are not text yet.
        return _TO_JSON(spec)
    return ast.literal_eval(text[text.index("(") + 1 : -1])
