"""SIGINT and SIGTERM: the first asks the loop to save and stop, the second ends it.

On several processes it is enough that one of them is asked: with every step they vote
on it (`slimjax.processes.Vote`), and all stop after the same one.

A scheduler may send SIGTERM to a process both by itself and through its launcher: one
that comes close behind the first signal is an echo of it, and ends nothing.
"""

import os
import signal
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType, TracebackType
from typing import Any

from slimjax.processes import Vote

SIGNALS = (signal.SIGINT, signal.SIGTERM)

ECHO_SECONDS = 2.0
"""How long after the first signal a SIGTERM counts as its echo."""


def interrupt(number: int) -> None:
    """Ends the call, not the interpreter: what a second signal does in a session.

    Raises:
        KeyboardInterrupt: For SIGINT.
        SystemExit: For SIGTERM.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def exit_at_once(number: int) -> None:
    """Ends the process: what a second signal does to a command.

    It damages nothing: a checkpoint counts only when it is whole.
    """
    os._exit(128 + number)


class StopRequests:
    """Notices signals while it is entered.

    Attributes:
        noticed: The signal that asked this process to stop, or None.
        agreed: The signal for which all processes stop, or None.
    """

    def __init__(self, at_second: Callable[[int], None] = interrupt):
        """Waits for nothing yet.

        Args:
            at_second: Called with the number of a signal that is neither the first
                nor an echo of it.
        """
        self._at_second = at_second
        self.noticed: signal.Signals | None = None
        self._noticed_at = 0.0
        self.agreed: signal.Signals | None = None
        self._vote = Vote()
        self._previous: dict = {}

    @property
    def received(self) -> signal.Signals | None:
        """The signal that asks the run to stop, or None."""
        return self.agreed if self._vote.is_needed else self.noticed

    def cast(self) -> Any:
        """Returns the vote that goes with a step: a number, here or on the devices."""
        return self._vote.cast(self.noticed or 0)

    def note(self, result: float) -> None:
        """Takes note of how all have voted."""
        if result:
            self.agreed = signal.Signals(int(result))

    def __enter__(self) -> "StopRequests":
        """Takes the signals over, where Python allows it: in the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._notice) for s in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.noticed is None:
            self.noticed, self._noticed_at = signal.Signals(number), monotonic()
        elif number == signal.SIGINT or monotonic() - self._noticed_at >= ECHO_SECONDS:
            self._at_second(number)
