"""The newest checkpoint that all processes can read: each takes the same one."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from slimjax import processes
from slimjax.errors import CheckpointError, UnreadableError

T = TypeVar("T")


def find_newest(
    names: Sequence[str],
    read: Callable[[str], T],
    pass_over: Callable[[str, CheckpointError], None],
) -> tuple[str, T] | None:
    """Returns the newest whole checkpoint and what was read of it; None without one.

    Args:
        names: Checkpoints, oldest first; the same ones on all processes.
        read: Reads one of them.
        pass_over: Called for each that is damaged, before an older one is read.

    Raises:
        UnreadableError: If one cannot be read that may be whole.
    """
    for name in reversed(names):
        try:
            with processes.together(f"checkpoint {name}"):
                return name, read(name)
        except CheckpointError as error:
            may_be_whole = isinstance(error, UnreadableError)
            if any(processes.exchange(f"whether {name} may be whole", may_be_whole)):
                raise
            pass_over(name, error)
    return None
