"""The loop: stage, seam, stage, seam, ..., report.

At each boundary between two steps the order is: seam, save, stop, evaluate, write; then
the next step is sent off, and the metrics of the one before it are read while it runs.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from slimjax import processes
from slimjax.data.batches import make_batch, row_indices
from slimjax.data.config import DataConfig
from slimjax.data.corpus import Corpus, load_corpus
from slimjax.data.tokenizer import BytesTokenizer
from slimjax.distill.outcome_store import OutcomeStore
from slimjax.errors import StoppedError
from slimjax.mesh.shardings import put_batch
from slimjax.report.history import describe_loss_change
from slimjax.run.bad_steps import RollBackError, meet_step, rows_step
from slimjax.run.branch import check_branch
from slimjax.run.evaluate import Error, evaluate
from slimjax.run.feasible import check_budget
from slimjax.run.logbook import Logbook
from slimjax.run.progress import Display
from slimjax.run.resume import Beginning, begin_or_resume, record_of
from slimjax.run.room import check_memory
from slimjax.run.saving import Saver
from slimjax.run.signals import StopRequests, interrupt
from slimjax.run.summary import summarize
from slimjax.run.taught_rows import check_room, keep_outcomes
from slimjax.run.teaching import check_teacher, keep_start
from slimjax.store.faults import fault_point
from slimjax.store.files import read_json, write_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig, check_same_run
from slimjax.train.guard import ROLLBACK
from slimjax.train.precision import round_state
from slimjax.train.seam import take_seam
from slimjax.train.stage import Special, Stage

PROBE_STEP = 2**31
"""Number of the first step, never reached, whose rows seams measure on."""


def train(
    run: RunConfig,
    workdir: str | Path,
    *,
    display: Display,
    allow_fresh_start: bool = False,
    at_second_signal: Callable[[int], None] = interrupt,
) -> dict[str, Any]:
    """Trains and slims a model, or goes on with a run that was interrupted.

    Args:
        run: The checked config.
        workdir: The run folder; made if it is not there.
        display: Where progress is shown.
        allow_fresh_start: Whether to begin again where there are checkpoints, and none
            is whole; they are moved aside.
        at_second_signal: What a second SIGINT or SIGTERM does; by default it raises
            KeyboardInterrupt or SystemExit.

    Returns:
        The content of ``report.json``; of a finished run, as it stands there.

    Raises:
        StoppedError: After a signal; what is done is saved.
        SlimjaxError: For all that a user can mend.
    """
    folder = RunFolder(workdir)
    with processes.together("the checks"):
        folder.check_writable()
        if folder.holds_run:
            check_same_run(read_json(folder.config), run)
            if folder.report.is_file():
                display.say(f"{folder.root} is finished; nothing to train.")
                return read_json(folder.report, dict)
        check_feasible(run)
    start_time = time.perf_counter()
    corpus = load_in_turn(run.data, display)
    check_room(run, corpus, display)
    with contextlib.ExitStack() as held:
        with processes.together("the run folder"):
            if processes.is_first():
                held.enter_context(folder.lock())
                folder.remove_leftovers()
        stop = held.enter_context(StopRequests(at_second_signal))
        beginning = begin_or_resume(
            run, folder, corpus, display, allow_fresh_start=allow_fresh_start
        )
        loop = Loop(run, folder, corpus, display, stop, start_time, beginning)
        try:
            loop.run_to_end()
        except BaseException as error:
            if processes.is_shared(error):
                loop.saver.finish()
            raise
        report = loop.finish()
        if stop.noticed is not None:  # It came too late to stop anything here.
            raise StoppedError(
                f"{stop.noticed.name}: the run is finished, its report is written.",
                exit_code=128 + stop.noticed,
            )
        return report


def load_in_turn(config: DataConfig, display: Display) -> Corpus:
    """Reads the text in one process, then in the others, which find it in the cache."""
    corpus = None
    for turn in (True, False):
        with processes.together("reading the text", processes.DAY):
            if processes.is_first() == turn:
                corpus = load_corpus(config, progress=display.prepare)
    assert corpus is not None
    return corpus


def check_feasible(run: RunConfig) -> None:
    """Refuses what cannot be met or run here, before any text is read.

    Raises:
        SlimjaxError: If memory, budget, teacher, mesh or kernels won't do.
    """
    model = run.model.build(vocab_size_of(run.data))
    check_memory(run, model)
    check_budget(run, model)
    check_teacher(run.distill, model.vocab_size)
    check_branch(run)
    Stage(run, model, Special(pad_id=0, bos_id=1)).check_kernels()


def vocab_size_of(data: DataConfig) -> int:
    """Returns the vocabulary that a corpus will have, before it is read."""
    return BytesTokenizer().vocab_size if data.tokenizer == "bytes" else data.vocab_size


class Loop:
    """One process's part of a run, from the newest checkpoint to the end."""

    def __init__(
        self,
        run: RunConfig,
        folder: RunFolder,
        corpus: Corpus,
        display: Display,
        stop: StopRequests,
        start_time: float,
        beginning: Beginning,
    ):
        """Opens the logs; trains nothing yet."""
        self.run, self.folder, self.corpus = run, folder, corpus
        self.display, self.stop = display, stop
        self.stage, self.state, self.history = beginning
        self.saver = Saver(folder, corpus.fingerprint, display, start_time)
        self.step = self.resumed_step = int(self.state.step)
        self.log = Logbook(folder, corpus, display, self.step)
        self.outcomes: OutcomeStore | None = None

    def run_to_end(self) -> None:
        """Takes all steps that are left.

        Raises:
            StoppedError: After a signal; the state is saved.
            NotFeasibleError: After a bad step, if it is to stop the run.
        """
        is_at_end = False
        while not is_at_end:
            try:
                self._ask_teacher()
                self._take_steps()
                is_at_end = True
            except RollBackError:
                self._roll_back()
        self.save()
        self.saver.finish_last()

    def _ask_teacher(self) -> None:
        """Has what the teacher says of the rows to come, if that is to be kept."""
        self.outcomes = keep_outcomes(
            self.stage,
            self.history,
            self.step,
            self.corpus,
            self.folder,
            self.display,
            self.stop,
        )

    def _take_steps(self) -> None:
        """Takes steps until the last one, the metrics of each being read."""
        train, pending = self.run.train, None
        while True:
            seam_due, save_due = self._seam_due(), self._due(train.save_every_steps)
            evaluation_due = self._due(train.eval_every_steps)
            if seam_due or save_due or evaluation_due or self.stop.received:
                pending = self._read(pending)
            if seam_due:
                self._pass_seam()
            if save_due:
                self.save()
            self.saver.notice()
            self._stop_if_asked()
            if self.step == train.num_steps:
                break
            self._round_weights()
            pending = self._take_step(pending)
        self._read(pending)

    def _roll_back(self) -> None:
        """Goes back to the newest checkpoint, knowing what is known by now."""
        self.saver.finish()
        old, now = self.stage, self.history
        self.stage, self.state, self.history = begin_or_resume(
            self.run, self.folder, self.corpus, self.display, reason=ROLLBACK
        )
        is_taught = [stage.teacher is not None for stage in (old, self.stage)]
        same_shape = old.architecture() == self.stage.architecture()
        same_shape &= old.learns_bits == self.stage.learns_bits
        if same_shape and is_taught[0] == is_taught[1]:
            self.stage = old.with_bits(self.stage.bits)  # Its programs are the same.
        self.history.go_back_from(now)
        self.step = self.resumed_step = int(self.state.step)
        self.log = Logbook(self.folder, self.corpus, self.display, self.step)

    def _due(self, every_steps: int) -> bool:
        return bool(every_steps) and self.step > 0 and self.step % every_steps == 0

    def _round_weights(self) -> None:
        """Sets, once, the levels to which weights are rounded from here on."""
        if self.step == self.run.quantize.first_step:
            self.state = round_state(self.stage, self.state)

    def _seam_due(self) -> bool:
        done = self.history.num_seams
        return (
            done < len(self.run.seam_steps) and self.run.seam_steps[done] <= self.step
        )

    def _take_step(self, pending: tuple | None) -> tuple:
        """Sends off a step, then reads the metrics of the one before."""
        train_step = self._compiled_step()
        fault_point("step")
        start = time.perf_counter()
        batch = put_batch(self._make_batch(), self.stage.mesh)
        with jax.transfer_guard("disallow"):
            self.state, metrics = train_step(self.state, batch)
        metrics |= {"stop": self.stop.cast()}
        self.step += 1
        self._read(pending, start)
        return self.step, metrics

    def _make_batch(self) -> dict[str, Any]:
        """Returns the rows of the step to come, and what the teacher says of them."""
        number, rows = rows_step(self.step, self.history), self.corpus.train
        size, seed = self.run.data.batch_size, self.run.seed
        batch: dict[str, Any] = make_batch(rows, number, size, seed)
        if self.outcomes is None or not self.stage.is_taught(self.step):
            return batch
        heard = self.outcomes.read(row_indices(number, size, len(rows), seed))
        return batch | heard._asdict()

    def _compiled_step(self) -> Any:
        compiled_before = self.stage.compile_seconds
        step = self.stage.step_at(self.step)
        record = self.history.stages[-1]
        record.compile_s += self.stage.compile_seconds - compiled_before
        return step

    def _read(self, pending: tuple | None, start: float | None = None) -> None:
        """Waits for the metrics of a step that was sent off; evaluates and writes."""
        start = time.perf_counter() if start is None else start
        if pending is None:
            return
        step, metrics = pending
        processes.wait_for(metrics, f"step {step}")
        metrics = {name: float(value) for name, value in metrics.items()}
        self.stop.hear(metrics.pop("stop"))
        record, seconds = self.history.stages[-1], time.perf_counter() - start
        record.num_steps, record.seconds = (
            record.num_steps + 1,
            record.seconds + seconds,
        )
        if self.stage.is_taught(step - 1) and self.outcomes is None:
            self.history.teacher_flops += self.stage.teacher_flops
        train = self.run.train
        good = meet_step(metrics, step, train, self.history, self.display)
        self.log.add(metrics, seconds, good=good)
        error = None
        if train.eval_every_steps and step % train.eval_every_steps == 0:
            error = self._evaluate_now(step)
        if step % train.log_every_steps == 0 or error or step == train.num_steps:
            self.log.write(
                step,
                self.stage,
                grad_norm=metrics["grad_norm"],
                history=self.history,
                error=error,
            )

    def _evaluate_now(self, step: int) -> Error | None:
        """Returns the validation error of the state, if it is still that of `step`."""
        if step != self.step or not self.corpus.num_tokens["valid"]:
            return None
        rows = self.run.train.eval_rows
        variables = self.stage.settle(self.state).variables
        error = evaluate(self.stage, variables, self.corpus, "valid", rows)
        self.saver.valid_error = (step, error.nats_per_token)
        return error

    def _pass_seam(self) -> None:
        """Takes a seam between two checkpoints, so that it happens wholly or not."""
        self.save()
        fault_point("seam-before")
        records = self.history.stages
        stage, state = self.stage, self.stage.settle(self.state)
        self.stage, self.state, entry = take_seam(
            self.stage, self.state, self._probe_batch, self.history
        )
        self.history.num_seams += 1
        self.history.seam_flops += entry["flops_spent"]
        self.history.alpha = entry["alpha"]
        self.history.calibration = entry["next_calibration"]
        if entry["taken"]:
            self.stage.teacher = keep_start(self.run.distill, stage, state, self.folder)
            records.append(record_of(self.stage, self.step))
            records[-1].predicted_loss_change = entry["predicted_loss_change"]
            records[-1].true_loss_change = entry["true_loss_change"]
        self.folder.seams.append(entry)
        fault_point("seam-after")
        self.save()
        self.saver.write_architecture(self.stage)
        fault_point("seam-saved")
        change = entry["params_after"] / entry["params_before"] - 1
        self.display.say(
            f"seam at step {self.step}: {entry['reason']}; params {change:+.0%}, "
            f"{describe_loss_change(entry)}"
        )

    def _probe_batch(self, i: int) -> Any:
        """Returns the i-th batch to measure on, of rows in an order of their own."""
        size, seed = self.run.data.batch_size, self.run.seed
        batch = make_batch(self.corpus.train, PROBE_STEP + i, size, seed)
        return put_batch(batch, self.stage.mesh)

    def _stop_if_asked(self) -> None:
        if self.stop.received is not None:
            self.save()
            failure = self.saver.finish()
            number = self.stop.received
            saved = "not saved" if failure else f"saved at step {self.step}"
            raise StoppedError(
                f"{number.name}: {saved}; the same command goes on.",
                exit_code=128 + number,
            )

    def save(self) -> None:
        """Begins to write a checkpoint of this boundary, unless there is one."""
        if self.step > self.resumed_step and self.run.train.on_bad_step == ROLLBACK:
            self.history.num_bad_in_a_row = 0
        self.saver.save(self.stage, self.state, self.history)

    def finish(self) -> dict[str, Any]:
        """Evaluates and packs the finished model, and writes ``report.json``."""
        write_json(self.folder.architecture, self.stage.architecture())
        self.display.step(self.step, self.step, "evaluating", always=True)
        self.saver.add_time(self.history)
        report = summarize(
            self.run, self.stage, self.state, self.corpus, self.history, self.folder
        )
        self.saver.add_time(self.history)
        report["train"]["seconds"] = self.history.seconds
        write_json(self.folder.report, report)
        processes.barrier("the report")
        return read_json(self.folder.report)
