"""How a run shows itself while it runs: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BETWEEN_LINES = 10.0


class Display:
    """Shows progress on stderr; used as a context."""

    def __init__(self, *, quiet: bool = False):
        """Opens nothing yet."""
        self.console = Console(
            stderr=True, quiet=quiet, highlight=False, soft_wrap=True
        )
        self.is_terminal = sys.stderr.isatty() and not quiet
        self._bar: Progress | None = None
        self._task: Any = None
        self._last_line = time.monotonic()
        self._prepared = ""

    def __enter__(self) -> "Display":
        """Starts the bar, where there is a terminal."""
        if self.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=False),
                TextColumn("{task.fields[note]}"),
                console=self.console,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self.console.print(text, markup=False)

    def prepare(self, what: str, fraction: float) -> None:
        """Shows how far a preparation is, between 0 and 1."""
        if what == self._prepared:
            return
        self._prepared = what if fraction >= 1 else ""
        self._show(what, round(100 * fraction), 100, "%", always=fraction >= 1)

    def step(
        self, step: int, num_steps: int, note: str, *, always: bool = False
    ) -> None:
        """Shows how far training is."""
        self._show("training", step, num_steps, note, always=always)

    def _show(
        self, what: str, done: int, total: int, note: str, *, always: bool
    ) -> None:
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(what, total=total, note=note)
            self._bar.update(
                self._task, description=what, completed=done, total=total, note=note
            )
        elif always or time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.say(f"{what} {done}/{total} {note}")
