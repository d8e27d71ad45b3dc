"""The errors a user can cause: one line each, an exit code each, no traceback."""

import difflib
from collections.abc import Iterable


class SlimjaxError(Exception):
    """A mistake that the user can correct; the message names what, where and how.

    Attributes:
        exit_code: What a command returns to the shell: 2, a user's mistake.
    """

    exit_code = 2


class ConfigError(SlimjaxError):
    """A setting that does not exist, or a value that is invalid."""


class DataError(SlimjaxError):
    """A text, a file or a corpus that cannot be read in its format."""


class CheckpointError(SlimjaxError):
    """A run folder or a checkpoint that is missing, damaged or of another run."""


class UnreadableError(CheckpointError):
    """A file of a run that may be whole, but cannot be read as things are now."""


class NoMemoryError(UnreadableError):
    """A file of a run that may be whole, and needs more memory to be read."""


class FolderInUseError(CheckpointError):
    """A run folder in which another process trains."""


class LostClaimError(SlimjaxError):
    """A piece of work that another process has taken over; nothing more is written."""

    exit_code = 4


class NotFeasibleError(SlimjaxError):
    """A well-formed request that cannot be met."""

    exit_code = 3


class ProcessError(SlimjaxError):
    """Another process of the same run that is lost, late, or has another state."""

    exit_code = 4


class InexactError(SlimjaxError):
    """A check that the library fails: a fault of it or of a device, not a user's."""

    exit_code = 1


class StoppedError(SlimjaxError):
    """A run that a signal ended; its state is saved. The code is 128 + the signal."""

    def __init__(self, message: str, exit_code: int):
        """Keeps the exit code beside the message."""
        super().__init__(message)
        self.exit_code = exit_code


def suggest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Returns a hint that offers the nearest of the `known` names.

    Examples:
        >>> suggest("widht", ["width", "depth"], prefix="model.")
        'Did you mean model.width?'
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean {prefix}{close[0]}?"
    return f"Known: {', '.join(prefix + k for k in known)}."
