"""The processes of a run: joining them, and waiting for each other, never for ever.

Waiting goes through the coordination service that process 0 runs beside its training,
not through the devices, so that it has a timeout and knows who is missing. Its client
is private to jax (0.10); this is the one page that touches it.
"""

import contextlib
import ctypes
import itertools
import json
import os
import re
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from slimjax import errors
from slimjax.errors import ConfigError, ProcessError, SlimjaxError
from slimjax.processes.cluster import LAUNCHER, Cluster

BARRIER_SECONDS = "SLIMJAX_BARRIER_SECONDS", 600.0
"""How long the others are waited for: compiling and reading text take their time."""

HEARTBEAT_SECONDS = "SLIMJAX_HEARTBEAT_SECONDS", 20.0
"""After how long without a sign of life a process counts as dead."""

DAY = 86400.0
ASKING_SECONDS = 10.0  # For who is late too to say so.
LEAVING_SECONDS = 5.0
POLLING_SECONDS = 0.0005
_calls: dict[str, Iterator[int]] = defaultdict(itertools.count)


def rank() -> int:
    """Returns the number of this process, 0 if it is alone."""
    return _state().process_id if count() > 1 else 0


def count() -> int:
    """Returns how many processes there are."""
    return _state().num_processes if _state().client is not None else 1


def is_first() -> bool:
    """Whether this is the process that writes what all share."""
    return rank() == 0


@contextlib.contextmanager
def joined(cluster: Cluster | None) -> Iterator[None]:
    """Joins the processes of a run while it is entered; jax must not have computed yet.

    They part together, when all have finished or failed; who fails alone leaves at
    once, so that the others notice.

    Raises:
        ProcessError: If the others don't come, or one of them is lost.
    """
    if cluster is None or count() > 1:
        yield
        return
    _join(cluster)
    try:
        yield
    except BaseException as error:
        if is_shared(error):
            _part(LEAVING_SECONDS)
            raise
        _forget()
        lost = find_loss(error)
        if lost is not None:
            raise lost from error
        raise
    _part(_seconds(BARRIER_SECONDS))


def barrier(name: str) -> None:
    """Waits until all processes are here.

    Args:
        name: What they come for, the same everywhere; it may be used again and again.

    Raises:
        ProcessError: Naming who has not come in time.
    """
    _wait(name, _seconds(BARRIER_SECONDS))


def share(name: str, value: Any) -> Any:
    """Returns the plain data that process 0 has, on all of them.

    Raises:
        ProcessError: If process 0 has not said it in time.
    """
    if count() == 1:
        return value
    key, client = _key(name), _state().client
    if is_first():
        client.key_value_set(key, json.dumps(value))
        return value
    seconds = _seconds(BARRIER_SECONDS)
    try:
        return json.loads(client.blocking_key_value_get(key, int(1000 * seconds)))
    except Exception as error:
        raise ProcessError(
            f"Process 0 has not told {name} within {seconds:g} s."
        ) from error


@contextlib.contextmanager
def together(name: str, seconds: float = 0.0) -> Iterator[None]:
    """Lets all processes pass, or none: what a user can mend in one fails in all.

    Args:
        name: What they do, the same everywhere.
        seconds: How long it may take one longer than another; 0 for as long as usual.

    Raises:
        SlimjaxError: Their own; those without one that of the first that has one.
        ProcessError: If one of them does not come.
    """
    if count() == 1:
        yield
        return
    own = None
    try:
        yield
    except SlimjaxError as error:
        own = error
    told = None if own is None else [type(own).__name__, str(own)]
    others = exchange(name, told, seconds)
    if own is not None:
        raise own
    for number, other in enumerate(others):
        if other is not None:
            kind, text = other
            raise getattr(errors, kind)(f"process {number}: {text}")


def exchange(name: str, value: Any, seconds: float = 0.0) -> list[Any]:
    """Returns the plain data of all processes, in their order.

    Args:
        name: What it is, the same everywhere.
        value: This process's.
        seconds: How long it may take one longer than another; 0 for as long as usual.

    Raises:
        ProcessError: Naming who has not come in time.
    """
    if count() == 1:
        return [value]
    key, client = _key(name), _state().client
    client.key_value_set(f"{key}/{rank():06d}", json.dumps(value))
    _wait(name, seconds or _seconds(BARRIER_SECONDS))
    return [json.loads(told) for _, told in sorted(client.key_value_dir_get(f"{key}/"))]


def agree(name: str, digest: str) -> None:
    """Compares what each process has computed by itself.

    Args:
        name: What it is.
        digest: A hash of it.

    Raises:
        ProcessError: Naming those that differ from process 0.
    """
    told = exchange(name, digest)
    odd = [i for i, other in enumerate(told) if other != told[0]]
    if odd:
        raise ProcessError(
            f"{_list(odd)} and process 0 differ in {name}. Their programs, their text "
            "or their devices are not the same."
        )


def wait_for(arrays: Any, name: str) -> Any:
    """Returns arrays once the devices have computed them, those of all processes.

    Raises:
        ProcessError: Naming who has not come to the same point in time.
    """
    if count() == 1:
        return arrays
    import jax

    leaves = jax.tree.leaves(arrays)
    pending: list[Any] = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
    deadline = time.monotonic() + _seconds(BARRIER_SECONDS)
    for array in pending:
        while not array.is_ready():
            if time.monotonic() > deadline:
                _wait(name, ASKING_SECONDS)
                raise ProcessError(f"The devices hang in {name}.")
            time.sleep(POLLING_SECONDS)
    return arrays


def is_shared(error: BaseException) -> bool:
    """Whether all processes fail with this error, so that it is safe to wait for them.

    What a user can mend is found by all of them, or told to all (`together`).
    """
    is_known = isinstance(error, SlimjaxError) and not isinstance(error, ProcessError)
    return count() == 1 or is_known


def find_loss(error: BaseException) -> ProcessError | None:
    """Returns what an error tells of a lost process; None if it tells of none."""
    if isinstance(error, ProcessError):
        return error
    found = re.search(r"Gloo (\S+) failed: (?:\[.*?\] )?(.{,80})", str(error))
    if found is None:
        return None
    return ProcessError(
        f"Another process is lost ({found[2].strip()}, in {found[1]}); this one ends "
        "too. The newest checkpoint is whole: the same command goes on."
    )


def _join(cluster: Cluster) -> None:
    import jax

    _die_with_launcher()
    heartbeat = int(_seconds(HEARTBEAT_SECONDS))
    # The service would take SIGTERM over, and tell Python nothing of it.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            cluster.coordinator_address,
            cluster.num_processes,
            cluster.process_id,
            cluster_detection_method=cluster.method,
            initialization_timeout=int(_seconds(BARRIER_SECONDS)),
            heartbeat_timeout_seconds=heartbeat,
            shutdown_timeout_seconds=heartbeat,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        _forget()
        raise ProcessError(f"The processes of this run don't meet: {reason}") from error


def _die_with_launcher() -> None:
    """Has Linux end this process when the one that launched it is killed."""
    launched = os.environ.get(LAUNCHER) == str(os.getppid())
    if launched and sys.platform.startswith("linux"):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _part(seconds: float) -> None:
    """Ends this process's part with all others, or without them if they don't come."""
    import jax

    try:
        _wait("the end", seconds)
    except ProcessError:
        _forget()
    else:
        jax.distributed.shutdown()


def _forget() -> None:
    """Ends this process's part without waiting for the others."""
    state = _state()
    for part in (state.client, state.service):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(part))  # Its end would wait.
    state.client = state.service = None


def _wait(name: str, seconds: float) -> None:
    if count() == 1:
        return
    try:
        _state().client.wait_at_barrier(f"slimjax/{name}", int(1000 * seconds))
    except Exception as error:
        told = str(error)
        if "DEADLINE_EXCEEDED" not in told:
            lost = re.search(r"[Tt]ask:? ?(\d+)", told)
            who = f"Process {lost[1]}" if lost else "A process"
            raise ProcessError(f"{who} is lost; {name} cannot go on.") from error
        tail = told.partition("timed out task names:")[2].partition("\n\n")[0]
        missing = [int(number) for number in re.findall(r"\d+", tail)]
        raise ProcessError(
            f"{_list(missing)} did not come to {name} within {seconds:g} s."
        ) from error


def _list(ranks: list[int]) -> str:
    """Returns ranks in words.

    Examples:
        >>> _list([3]), _list([1, 2])
        ('Process 3', 'Processes 1, 2')
    """
    numbers = ", ".join(map(str, ranks[:8])) + (" ..." if len(ranks) > 8 else "")
    return f"Process {numbers}" if len(ranks) == 1 else f"Processes {numbers}"


def _key(name: str) -> str:
    """Returns a key for the n-th call, the same on all processes."""
    return f"slimjax/{name}/{next(_calls[name])}"


def _seconds(setting: tuple[str, float]) -> float:
    name, default = setting
    text = os.environ.get(name, "")
    try:
        seconds = float(text or default)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds < 1e6:
        raise ConfigError(f"{name}={text!r} in the environment must be seconds, >= 1.")
    return seconds


def _state() -> Any:
    from jax._src import distributed

    return distributed.global_state
