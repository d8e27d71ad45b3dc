"""How much memory there is, and errors that mean it was too little."""

import contextlib
import ctypes
import gc
import os
import re
import resource
from pathlib import Path

from slimjax.errors import ConfigError

XLA_ERRORS = ("JaxRuntimeError", "XlaRuntimeError")
SIGNS = re.compile(
    r"RESOURCE_EXHAUSTED|[Oo]ut of memory|[Ff]ailed to allocate|bad_alloc"
)
LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
"""Files with the limit of a container, versions 2 and 1."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, NumPy or XLA means that memory ran out.

    Examples:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("a"))
        (True, False)
    """
    if isinstance(error, MemoryError):
        return True
    return type(error).__name__ in XLA_ERRORS and bool(SIGNS.search(str(error)))


def describe(error: BaseException) -> str:
    """Returns the first line of an error, as a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".") + "."


def free_bytes() -> int:
    """Returns the bytes that this process can still have of the host's memory.

    That is the least of what the system has available, what its container may have in
    all, and what its own limit leaves; 2^62 where none of them is known.
    """
    known = [_system(), *map(_container, LIMITS), _own_limit()]
    return min((n for n in known if n is not None), default=1 << 62)


def device_bytes(devices: list) -> int:
    """Returns the bytes that an array can have at most on the smallest of the devices.

    Args:
        devices: Devices of jax; those of the CPU share the host's memory.
    """
    sizes = [_device(device) for device in devices]
    return min((n for n in sizes if n is not None), default=free_bytes())


def check_fits(num_bytes: float, available: int, what: str, remedy: str) -> None:
    """Refuses a request that needs more memory than there is.

    Args:
        num_bytes: Least bytes that it needs.
        available: Bytes that there are.
        what: Names the request, such as ``--max_new_tokens=1000000``.
        remedy: What to do.

    Raises:
        ConfigError: If it does not fit.

    Examples:
        >>> check_fits(1, 2, "this", "Take less.")
        >>> check_fits(3e9, 10**9, "this", "Take less.")
        Traceback (most recent call last):
        slimjax.errors.ConfigError: this needs 3.0 GB, and 1.0 GB are free. Take less.
    """
    if num_bytes > available:
        raise ConfigError(
            f"{what} needs {num_bytes / 1e9:,.1f} GB, and {available / 1e9:,.1f} GB "
            f"are free. {remedy}"
        )


def _device(device) -> int | None:
    stats = device.memory_stats() if device.platform != "cpu" else None
    return stats.get("bytes_limit") if stats else None


def _system() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    found = re.search(r"MemAvailable:\s*(\d+) kB", text)
    return int(found[1]) * 1024 if found else None


def _container(limit: str) -> int | None:
    try:
        text = Path(limit).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdigit() else None


def _own_limit() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return soft
    return max(0, soft - pages * os.sysconf("SC_PAGE_SIZE"))


def give_back() -> None:
    """Returns memory of deleted arrays to the system, where the C library can."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
