"""Joining the processes of a run, and parting: together, or at once from a lost one."""

import contextlib
import ctypes
import os
import re
import signal
import sys
from collections.abc import Iterator

from slimjax.errors import ProcessError, SlimjaxError
from slimjax.processes import world
from slimjax.processes.cluster import LAUNCHER, Cluster

LEAVING_SECONDS = 5.0


@contextlib.contextmanager
def joined(cluster: Cluster | None) -> Iterator[None]:
    """Joins the processes of a run while it is entered; jax must not have computed yet.

    They part together, when all have finished or failed; one that fails alone leaves at
    once, so that the others notice.

    Raises:
        ProcessError: If the others do not arrive, or one of them is lost.
    """
    if cluster is None or world.count() > 1:
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
    _part(world.seconds_of(world.BARRIER_SECONDS))


def is_shared(error: BaseException) -> bool:
    """Whether all processes fail with this error, so that it is safe to wait for them.

    A mistake of the user is found by all of them, or sent to all (`together`).
    """
    is_known = isinstance(error, SlimjaxError) and not isinstance(error, ProcessError)
    return world.count() == 1 or is_known


def find_loss(error: BaseException) -> ProcessError | None:
    """Returns the loss of a process that an error reports, or None."""
    if isinstance(error, ProcessError):
        return error
    found = re.search(r"Gloo (\S+) failed: (?:\[.*?\] )?(.{,80})", str(error))
    if found is None:
        return None
    return ProcessError(
        f"Another process is lost ({found[2].strip()}, in {found[1]}); this one ends "
        "too. The newest checkpoint is whole. Run the same command again to continue."
    )


def _join(cluster: Cluster) -> None:
    import jax

    _die_with_launcher()
    # To jax an empty list is no restriction, and None in Slurm is one device.
    devices = [] if cluster.takes_all else None
    heartbeat = int(world.seconds_of(world.HEARTBEAT_SECONDS))
    # The service would take SIGTERM over, and Python would not notice.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            cluster.coordinator_address,
            cluster.num_processes,
            cluster.process_id,
            local_device_ids=devices,
            cluster_detection_method=cluster.method,
            initialization_timeout=int(world.seconds_of(world.BARRIER_SECONDS)),
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
        world.wait("the end", seconds)
    except ProcessError:
        _forget()
    else:
        jax.distributed.shutdown()


def _forget() -> None:
    """Ends this process's part without waiting for the others."""
    state = world.state()
    for part in (state.client, state.service):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(part))  # Its end would wait.
    state.client = state.service = None
