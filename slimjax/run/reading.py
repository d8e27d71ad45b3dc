"""Reading the metrics of steps: each is waited for, checked, timed and logged."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax

from slimjax import processes
from slimjax.run.bad_steps import handle_bad_step
from slimjax.run.evaluation import Evaluation
from slimjax.run.logbook import Logbook
from slimjax.run.progress import Display
from slimjax.run.signals import StopRequests
from slimjax.train.config import TrainConfig
from slimjax.train.history import History
from slimjax.train.stage import Stage


@dataclasses.dataclass(frozen=True)
class Pending:
    """A step that was sent off, and whose metrics are still to be read.

    Attributes:
        step: Steps taken with it.
        metrics: Arrays, which may not be there yet.
        sent_s: When it was sent off, `time.perf_counter`.
        teacher_flops: FLOPs of a teacher in it.
        done_s: When it was seen to be done, if that was before it is read.
    """

    step: int
    metrics: dict[str, Any]
    sent_s: float
    teacher_flops: float = 0.0
    done_s: float = math.inf

    def noticed(self) -> "Pending":
        """Returns the same, with the time of now if it is done by now.

        Asked before the next step is sent off, which may keep the host until that is
        done as well.
        """
        arrays: list[Any] = [
            x for x in self.metrics.values() if isinstance(x, jax.Array)
        ]
        if all(array.is_ready() for array in arrays):
            return dataclasses.replace(self, done_s=time.perf_counter())
        return self


class Reader:
    """Reads steps one after the other."""

    def __init__(
        self,
        train: TrainConfig,
        log: Logbook,
        display: Display,
        stop: StopRequests,
        evaluate: Callable[[int], Evaluation | None],
    ):
        """Reads nothing yet.

        Args:
            train: Says when to evaluate and to log, and what to do about bad steps.
            log: Where lines are written.
            display: Where bad steps are reported.
            stop: Gets the votes of all processes.
            evaluate: Returns the validation of a step, if its state is still there.
        """
        self.train, self.log, self.display, self.stop = train, log, display, stop
        self.evaluate = evaluate
        self._last_done_s = 0.0

    def read(self, pending: Pending | None, stage: Stage, history: History) -> None:
        """Waits for the metrics of a step; evaluates and writes when that is due."""
        if pending is None:
            return
        step, train = pending.step, self.train
        processes.wait_for(pending.metrics, f"step {step}")
        metrics = {name: float(value) for name, value in pending.metrics.items()}
        self.stop.note(metrics.pop("stop"))
        seconds = self._time(pending, history)
        history.teacher_flops += pending.teacher_flops
        good = handle_bad_step(metrics, step, train, history, self.display)
        self.log.add(metrics, seconds, good=good)
        is_due = train.eval_every_steps and step % train.eval_every_steps == 0
        evaluation = self.evaluate(step) if is_due else None
        is_logged = step % train.log_every_steps == 0 or step == train.num_steps
        if is_logged or evaluation is not None:
            self.log.write(
                step,
                stage.blueprint,
                grad_norm=metrics["grad_norm"],
                history=history,
                evaluation=evaluation,
            )

    def _time(self, pending: Pending, history: History) -> float:
        """Returns the seconds of a step, and counts them in its stage.

        It ran from when it was sent off, or from when the one before it was done, also
        while the host wrote about that one.
        """
        done_s = min(pending.done_s, time.perf_counter())
        seconds = done_s - max(pending.sent_s, self._last_done_s)
        self._last_done_s = done_s
        record = history.stages[-1]
        record.num_steps, record.seconds = (
            record.num_steps + 1,
            record.seconds + seconds,
        )
        return seconds
