"""The processes of a run: their number, and waiting for them with a timeout.

Waiting goes through the coordination service that process 0 runs beside its training,
not through the devices, so that it has a timeout and knows the late process. Its client
is private to jax (0.10); the files of this room, and no others, use it.
"""

import os
import re
import sys
from typing import Any

from slimjax.errors import ConfigError, ProcessError

BARRIER_SECONDS = "SLIMJAX_BARRIER_SECONDS", 600.0
"""How long the others are waited for: compiling and reading text take their time."""

HEARTBEAT_SECONDS = "SLIMJAX_HEARTBEAT_SECONDS", 20.0
"""After how long without a sign of life a process counts as dead."""


def rank() -> int:
    """Returns the number of this process, 0 if it is alone."""
    return state().process_id if count() > 1 else 0


def count() -> int:
    """Returns how many processes there are; they are joined through jax alone."""
    if sys.modules.get("jax") is None:
        return 1
    return state().num_processes if state().client is not None else 1


def is_first() -> bool:
    """Whether this is the process that writes what all share."""
    return rank() == 0


def wait(name: str, seconds: float) -> None:
    """Waits until all processes are here.

    Raises:
        ProcessError: Naming the processes that are late or lost.
    """
    if count() == 1:
        return
    try:
        state().client.wait_at_barrier(f"slimjax/{name}", int(1000 * seconds))
    except Exception as error:
        text = str(error)
        if "DEADLINE_EXCEEDED" not in text:
            lost = re.search(r"[Tt]ask:? ?(\d+)", text)
            name_of = f"Process {lost[1]}" if lost else "A process"
            raise ProcessError(f"{name_of} is lost; {name} cannot continue.") from error
        tail = text.partition("timed out task names:")[2].partition("\n\n")[0]
        missing = [int(number) for number in re.findall(r"\d+", tail)]
        raise ProcessError(
            f"{list_ranks(missing)} did not come to {name} within {seconds:g} s."
        ) from error


def list_ranks(ranks: list[int]) -> str:
    """Returns ranks in words.

    Examples:
        >>> list_ranks([3]), list_ranks([1, 2])
        ('Process 3', 'Processes 1, 2')
    """
    numbers = ", ".join(map(str, ranks[:8])) + (" ..." if len(ranks) > 8 else "")
    return f"Process {numbers}" if len(ranks) == 1 else f"Processes {numbers}"


def seconds_of(setting: tuple[str, float]) -> float:
    """Returns a setting of the environment, or its default.

    Raises:
        ConfigError: If that is not a time to wait.
    """
    name, default = setting
    text = os.environ.get(name, "")
    try:
        seconds = float(text or default)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds < 1e6:
        raise ConfigError(f"{name}={text!r} in the environment must be seconds, >= 1.")
    return seconds


def state() -> Any:
    """Returns what jax knows of the other processes."""
    from jax._src import distributed

    return distributed.global_state
