"""Which process holds a claim, and whether it is known to have ended.

A process id means something on one host and in one namespace of processes only, and it
may be given out again. So the id of the boot, of the namespace and the time at which
the process was started are kept beside it; where a system does not tell these, no
process is known to have ended.
"""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = "/proc/self/ns/pid"


def describe_process(host: str = "") -> dict[str, Any]:
    """Returns what is known of this process, as plain data.

    Args:
        host: The name of this machine, by default the system's.
    """
    return {
        "host": host or socket.gethostname(),
        "pid": os.getpid(),
        "started": _start_of(os.getpid()),
        "boot": _read_boot(),
        "namespace": _read_namespace(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def has_ended(record: Mapping[str, Any], host: str = "") -> bool:
    """Whether a process is known to have ended; False if that cannot be known.

    Args:
        record: What `describe_process` returned there.
        host: The name of this machine, by default the system's.
    """
    pid, place = record.get("pid"), (_read_boot(), _read_namespace())
    is_here = record.get("host") == (host or socket.gethostname())
    is_here &= (record.get("boot"), record.get("namespace")) == place
    if not is_here or not all(place) or type(pid) is not int or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    started = _start_of(pid)
    return started is not None and started != record.get("started")


def _start_of(pid: int) -> int | None:
    """Returns when a process was started, in ticks since the boot.

    References:
        Linux manual, proc_pid_stat(5), field 22. The name of the program, field 2, may
        hold spaces and brackets.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return int(fields.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _read_boot() -> str:
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""


def _read_namespace() -> str:
    try:
        return os.readlink(NAMESPACE)
    except OSError:
        return ""
