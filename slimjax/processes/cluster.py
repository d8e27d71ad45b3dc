"""Which processes make up a run: by flags, by the environment, or this one alone."""

import dataclasses
import re
from collections.abc import Mapping

from slimjax.errors import ConfigError

ADDRESS = "JAX_COORDINATOR_ADDRESS"
PORT = "JAX_COORDINATOR_PORT"
COUNTS = ("JAX_NUM_PROCESSES", "JAX_PROCESS_COUNT", "NNODES")
IDS = ("JAX_PROCESS_ID", "JAX_PROCESS_INDEX", "NODE_RANK")
"""Names that launchers give to the number of processes, and to that of this one."""

LAUNCHER = "SLIMJAX_LAUNCHER"
"""Process id of ``slimjax launch``, with which those that it started end."""

DEFAULT_PORT = "1234"  # That of xpk, whose addresses come without one.
SLURM_STEP = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID")
TASKS_PER_NODE = ("SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE")
"""Where Slurm tells how many processes a host has, ``1(x4)`` of four hosts for example;
the second one may be of the whole job, and not of the step."""

DEVICES = "JAX_LOCAL_DEVICE_IDS"
"""Devices of a host that a process takes, if a user chooses them."""

MAX_PROCESSES = 1 << 16
"""More than the hosts of any pod."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where this process stands among those of its run.

    Attributes:
        coordinator_address: ``host:port`` of process 0; None where jax finds out.
        num_processes: How many there are; None where jax finds out.
        process_id: Which one this is, from 0; None where jax finds out.
        method: Of jax's ways to find out, for what is None.
        takes_all: Whether it takes all devices of its host; else jax decides, which in
            Slurm gives each process one.
    """

    coordinator_address: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    method: str | None = None
    takes_all: bool = False

    def __post_init__(self):
        """Refuses numbers that no process has."""
        num, own = self.num_processes, self.process_id
        if num is not None and num > MAX_PROCESSES:
            raise ConfigError(f"--num_processes={num} must be at most {MAX_PROCESSES}.")
        if num is not None and own is not None and not 0 <= own < num:
            raise ConfigError(
                f"--process_id={own} must be in [0, {num}), for "
                f"--num_processes={num} processes are numbered from 0."
            )


def find_cluster(
    environ: Mapping[str, str],
    *,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> Cluster | None:
    """Returns the cluster that this process is part of; None if it is alone.

    Looked at in this order: the arguments, each one standing in for its variable; the
    variables that ``slimjax launch`` and JobSets (xpk) set; a step of Slurm; a TPU VM.

    Args:
        environ: The environment.
        coordinator_address: ``host:port`` of process 0, if a flag gives it.
        num_processes: How many there are, if a flag gives it.
        process_id: Which one this is, if a flag gives it.

    Raises:
        ConfigError: If some of the three are known, and others are not.
    """
    address = coordinator_address or _address(environ)
    count = num_processes if num_processes is not None else _read(environ, COUNTS)
    own = process_id if process_id is not None else _process_id(environ)
    by_flags = any(
        x is not None for x in (coordinator_address, num_processes, process_id)
    )
    if by_flags or (address and not _is_on_tpu(environ)):
        _check_complete(address, count, own)
    if address and count is not None and own is not None:
        return Cluster(address, count, own, "deactivate")
    if all(name in environ for name in SLURM_STEP):
        alone = environ["SLURM_NTASKS"] == "1"
        takes_all = _is_alone_on_host(environ) and not environ.get(DEVICES)
        return None if alone else Cluster(method="slurm", takes_all=takes_all)
    return Cluster() if _is_on_tpu(environ) else None


def _is_alone_on_host(environ: Mapping[str, str]) -> bool:
    """Whether each host of a step of Slurm has one process."""
    found = [environ[name] for name in TASKS_PER_NODE if environ.get(name)]
    return bool(found) and re.fullmatch(r"1(\(x\d+\))?", found[0]) is not None


def _address(environ: Mapping[str, str]) -> str | None:
    address = environ.get(ADDRESS)
    if not address or ":" in address:
        return address
    return f"{address}:{environ.get(PORT, DEFAULT_PORT)}"


def _process_id(environ: Mapping[str, str]) -> int | None:
    """Returns the number of this process, in a JobSet that of its job counted in."""
    own = _read(environ, IDS)
    index = _read(environ, ("JOB_COMPLETION_INDEX",))
    if own is not None or index is None:
        return own
    job = _read(environ, ("JOB_INDEX",)) or 0
    return job * (_read(environ, ("PROCESSES_IN_JOB",)) or 0) + index


def _read(environ: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = environ.get(name)
        if value:
            if not value.isdecimal():
                raise ConfigError(
                    f"{name}={value!r} in the environment is not a number."
                )
            return int(value)
    return None


def _check_complete(address: str | None, count: int | None, own: int | None) -> None:
    known = {
        f"--coordinator_address ({ADDRESS})": address,
        f"--num_processes ({COUNTS[0]})": count,
        f"--process_id ({IDS[0]})": own,
    }
    missing = [name for name, value in known.items() if value is None]
    if missing:
        raise ConfigError(
            f"A run on several processes is asked for, but {missing[0]} is not given. "
            "Give all three, or none."
        )


def _is_on_tpu(environ: Mapping[str, str]) -> bool:
    """Whether jax computes on a TPU here; then it knows the other hosts."""
    if "tpu" not in environ.get("JAX_PLATFORMS", "tpu"):
        return False
    from jax._src import cloud_tpu_init

    return cloud_tpu_init.running_in_cloud_tpu_vm
