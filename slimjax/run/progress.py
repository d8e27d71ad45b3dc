"""Progress of a run on stderr: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

from slimjax.report.quantities import format_duration

SECONDS_BETWEEN_LINES = 10.0
MIN_WIDTH_FOR_BAR, BAR_WIDTH = 120, 20  # Characters.
PACE_LENGTH = 8  # Calls over which the speed is measured, for the time left.


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
        self._start = self._last_line = time.monotonic()
        self._prepared = ""
        self._pace: deque[tuple[float, int]] = deque(maxlen=PACE_LENGTH)

    def __enter__(self) -> "Display":
        """Starts the bar, where there is a terminal."""
        if self.is_terminal:
            has_bar = self.console.width >= MIN_WIDTH_FOR_BAR
            reserved = BAR_WIDTH * has_bar
            columns: list[ProgressColumn] = [StepColumn(self.console, reserved)]
            columns += [BarColumn(BAR_WIDTH)] if has_bar else []
            self._bar = Progress(*columns, console=self.console)
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
        facts = [f"{100 * fraction:.0f} %"]
        self._show(what, round(100 * fraction), 100, facts, always=fraction >= 1)

    def count(self, number: int) -> None:
        """Shows how many examples are done, of a number that is not known."""
        speed = number / max(time.monotonic() - self._start, 1e-9)
        self._show("examples", number, 0, [f"{speed:,.0f}/s"], always=False)

    def step(
        self,
        step: int,
        num_steps: int,
        facts: str | Sequence[str],
        *,
        always: bool = False,
    ) -> None:
        """Shows how far training is.

        Args:
            step: Steps done.
            num_steps: Steps of the whole run.
            facts: What is known of it, the most important first.
            always: Whether a plain line is due, however short ago the last one was.
        """
        facts = [facts] if isinstance(facts, str) else list(facts)
        left = self._estimate_left(step, num_steps)
        if left is not None:
            facts.insert(1, f"{describe_time(left)} left")
        self._show("training", step, num_steps, facts, always=always)

    def _estimate_left(self, step: int, num_steps: int) -> float | None:
        """Returns the seconds to the end, at the speed of the last calls."""
        now = time.monotonic()
        if self._pace and step < self._pace[-1][1]:  # The run went back.
            self._pace.clear()
        start = self._pace[0] if self._pace else (now, step)
        if not self._pace or step > self._pace[-1][1]:
            self._pace.append((now, step))
        if step <= start[1] or step >= num_steps:
            return None
        return (now - start[0]) / (step - start[1]) * (num_steps - step)

    def _show(
        self, what: str, done: int, total: int, facts: list[str], *, always: bool
    ) -> None:
        if self._bar is not None:
            shown: dict[str, Any] = {"total": total, "facts": facts}
            if self._task is None:
                self._task = self._bar.add_task(what, **shown)
            self._bar.update(self._task, description=what, completed=done, **shown)
        elif always or time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.say("  ".join([f"{what} {name_place(done, total)}", *facts]))


class StepColumn(ProgressColumn):
    """The step, then as many facts as there is room for in one line."""

    def __init__(self, console: Console, reserved: int):
        """Keeps the console, and how many characters other columns take."""
        super().__init__()
        self.console, self.reserved = console, reserved

    def render(self, task: Task) -> Text:
        """Returns the line of a task."""
        room = self.console.width - self.reserved - 2
        place = name_place(int(task.completed), int(task.total or 0))
        head = f"{task.description} {place}"
        facts = task.fields["facts"]
        return Text(fit(head, facts, room), no_wrap=True)


def name_place(done: int, total: int) -> str:
    """Returns how much is done of a total; 0 stands for one that is not known.

    Examples:
        >>> name_place(3, 9), name_place(1024, 0)
        ('3/9', '1024')
    """
    return f"{done}/{total}" if total else str(done)


def describe_time(seconds: float) -> str:
    """Returns a time in whole seconds or larger units, at least one second.

    Examples:
        >>> describe_time(0.2), describe_time(75.4)
        ('1 s', '1 min 15 s')
    """
    whole = max(round(seconds), 1)
    return f"{whole} s" if whole < 60 else format_duration(whole)


def fit(head: str, facts: Iterable[str], room: int) -> str:
    """Returns the head, and after it the facts that fit in the room.

    Examples:
        >>> fit("training 7/9", ["loss 2.25", "12.3 kB (41 %)"], room=25)
        'training 7/9  loss 2.25'
    """
    line = head
    for fact in facts:
        if len(line) + 2 + len(fact) <= room:
            line += f"  {fact}"
    return line
