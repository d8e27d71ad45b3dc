"""SIGINT and SIGTERM: the first asks the loop to save and stop, the second ends it."""

import os
import signal
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequests:
    """Notices signals while it is entered.

    Attributes:
        received: The signal that asked the run to stop, or None.
    """

    def __init__(self):
        """Waits for nothing yet."""
        self.received: signal.Signals | None = None
        self._previous: dict = {}

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
        if self.received is not None:
            os._exit(128 + number)  # At once; a checkpoint counts only when whole.
        self.received = signal.Signals(number)
