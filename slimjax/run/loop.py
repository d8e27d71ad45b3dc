"""The loop: stage, seam, stage, seam, ..., report.

At each boundary between two steps the order is: seam, save, stop, evaluate, write; then
the next step is sent off, and the metrics of the one before it are read while it runs.
"""

import time
from typing import Any

import jax

from slimjax import processes
from slimjax.data.dataset import Dataset
from slimjax.distill.outcome_store import OutcomeStore
from slimjax.errors import StoppedError
from slimjax.run.bad_steps import RollBackError, rows_step
from slimjax.run.evaluate import evaluate
from slimjax.run.evaluation import Evaluation
from slimjax.run.finish import make_report
from slimjax.run.logbook import Logbook
from slimjax.run.patience import best_state, counts, is_over, note
from slimjax.run.profiling import Profiling
from slimjax.run.progress import Display
from slimjax.run.reading import Pending, Reader
from slimjax.run.resume import Beginning, begin_or_resume, record_of
from slimjax.run.saving import Saver
from slimjax.run.signals import StopRequests
from slimjax.run.taught_rows import keep_outcomes
from slimjax.run.teaching import keep_start
from slimjax.store.faults import fault_point
from slimjax.store.files import read_json, write_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig
from slimjax.train.guard import ROLLBACK
from slimjax.train.rounding import round_state
from slimjax.train.seam import take_seam

PROBE_STEP = 2**31
"""Number of the first step, never reached, whose rows seams measure on."""


class Loop:
    """One process's part of a run, from the newest checkpoint to the end."""

    def __init__(
        self,
        run: RunConfig,
        folder: RunFolder,
        data: Dataset,
        display: Display,
        stop: StopRequests,
        start_time: float,
        beginning: Beginning,
    ):
        """Opens the logs; trains nothing yet."""
        self.run, self.folder, self.data = run, folder, data
        self.display, self.stop = display, stop
        self.stage, self.state, self.history = beginning
        self.saver = Saver(folder, data.fingerprint, display, start_time)
        self.step = self.resumed_step = int(self.state.step)
        self.outcomes: OutcomeStore | None = None
        self.profiling = Profiling(run.train.profiled, folder.root / "profile")
        self.reader = self._open_reader()

    def _open_reader(self) -> Reader:
        log = Logbook(self.folder, self.data, self.display, self.step)
        return Reader(self.run.train, log, self.display, self.stop, self._evaluate_now)

    def run_to_end(self) -> None:
        """Takes all steps that are left.

        Raises:
            StoppedError: After a signal; the state is saved.
            NotFeasibleError: After a bad step, if it is to stop the run.
        """
        is_at_end = False
        if self._begins_elsewhere():
            self.save()  # From here on the other run's folder is not needed.
        while not is_at_end:
            try:
                self._ask_teacher()
                self._take_steps()
                is_at_end = True
            except RollBackError:
                self._roll_back()
            finally:
                self.profiling.end()
        self.save()
        self.saver.finish_last()

    def _begins_elsewhere(self) -> bool:
        """Whether this is the beginning of a run, and another one is its source."""
        first = self.history.stages[0]
        is_fresh = len(self.history.stages) == 1 and first.start_step == self.step
        has_source = self.run.model.init_from or self.run.train.continue_from
        return bool(has_source) and is_fresh

    def _ask_teacher(self) -> None:
        """Gets the teacher's outcomes of the rows to come, if they are to be kept."""
        self.outcomes = keep_outcomes(
            self.stage,
            self.history,
            self.step,
            self.data,
            self.folder,
            self.display,
            self.stop,
        )

    def _take_steps(self) -> None:
        """Takes steps until the last one, the metrics of each being read."""
        train = self.run.train
        pending: Pending | None = None
        while True:
            seam_due, save_due = self._seam_due(), self._due(train.save_every_steps)
            evaluation_due = self._due(train.eval_every_steps)
            if seam_due or save_due or evaluation_due or self.stop.received:
                self._read(pending)
                pending = None
            if seam_due:
                self._pass_seam()
            if save_due or (train.patience and self.history.best_step == self.step):
                self.save()
            self.saver.notice()
            self._stop_if_asked(pending)
            if self.step == train.num_steps or is_over(self.run, self.history):
                break
            self._round_weights()
            self.profiling.pass_boundary(self.step, self.state)
            pending = self._take_step(pending)
        self._read(pending)

    def _roll_back(self) -> None:
        """Goes back to the newest checkpoint, knowing what is known by now."""
        self.saver.finish()
        old, now = self.stage, self.history
        self.stage, self.state, self.history = begin_or_resume(
            self.run, self.folder, self.data, self.display, reason=ROLLBACK
        )
        is_taught = [stage.teacher is not None for stage in (old, self.stage)]
        blueprints = [stage.blueprint for stage in (old, self.stage)]
        same_shape = len({str(one.architecture()) for one in blueprints}) == 1
        same_shape &= blueprints[0].learns_bits == blueprints[1].learns_bits
        if same_shape and is_taught[0] == is_taught[1]:
            self.stage = old.with_bits(blueprints[1].bits)  # With the same programs.
        self.history.go_back_from(now)
        self.step = self.resumed_step = int(self.state.step)
        self.reader = self._open_reader()

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

    def _take_step(self, pending: Pending | None) -> Pending:
        """Sends off a step, then reads the metrics of the one before."""
        batch = self.stage.put(self._make_batch())
        train_step = self._compiled_step(batch)
        fault_point("step")
        pending = pending and pending.noticed()
        sent_s = time.perf_counter()
        with jax.transfer_guard("disallow"):
            self.state, metrics = train_step(self.state, batch)
        metrics |= {"stop": self.stop.cast()}
        asks = self.stage.is_taught(self.step) and self.outcomes is None
        flops = self.stage.teacher_flops if asks else 0.0
        self.step += 1
        self._read(pending)
        return Pending(self.step, metrics, sent_s, flops)

    def _read(self, pending: Pending | None) -> None:
        self.reader.read(pending, self.stage, self.history)

    def _make_batch(self) -> dict[str, Any]:
        """Returns the rows of the step to come, and the teacher's outcomes of them."""
        number = rows_step(self.step, self.history)
        size, seed = self.run.data.batch_size, self.run.seed
        batch: dict[str, Any] = self.data.training_batch(number, size, seed)
        if self.outcomes is None or not self.stage.is_taught(self.step):
            return batch
        rows = self.data.row_numbers("train", number, size, seed)
        return batch | self.outcomes.read(rows)._asdict()

    def _compiled_step(self, batch: Any) -> Any:
        """Returns the program of the step to come; of a bucket, for its length."""
        programs, has_buckets = self.stage.programs, self.data.buckets is not None
        compiled_before = programs.compile_seconds
        step = self.stage.step_at(self.step, batch if has_buckets else None)
        record = self.history.stages[-1]
        record.compile_s += programs.compile_seconds - compiled_before
        return step

    def _evaluate_now(self, step: int) -> Evaluation | None:
        """Returns the validation of the state, if it is still that of `step`."""
        if step != self.step or not self.data.num_rows("valid"):
            return None
        variables = self.stage.deterministic(self.state).variables
        rows = self.run.train.eval_rows
        found = evaluate(self.stage, variables, self.data, "valid", rows)
        headline = self.stage.blueprint.task.headline
        rank = found.error if headline.from_loss else found.metrics[headline.key]
        rank = rank if headline.better == "low" else -rank
        is_counted = counts(self.run, self.history, step)
        if is_counted:
            note(self.history, step, rank)
        if is_counted or not self.run.train.patience:
            self.saver.valid_error = (step, rank)
        return found

    def _pass_seam(self) -> None:
        """Takes a seam between two checkpoints, so that it happens wholly or not."""
        self.save()
        fault_point("seam-before")
        records, history = self.history.stages, self.history
        stage, state = self.stage, self.stage.deterministic(self.state)
        self.stage, self.state, record = take_seam(
            self.stage, self.state, self._probe_batch, history
        )
        history.num_seams += 1
        history.seam_flops += record.flops_spent
        history.alpha, history.alphas = record.alpha, dict(record.alphas)
        history.calibration = record.next_calibration
        if record.taken:
            self.saver.valid_error = None  # It was another model's.
            teacher = keep_start(self.run.distill, stage, state, self.folder)
            self.stage = self.stage.taught_by(teacher)
            records.append(record_of(self.stage.blueprint, self.step))
            records[-1].predicted_loss_change = record.predicted_loss_change
            records[-1].true_loss_change = record.true_loss_change
        self.folder.seams.append(record.as_dict())
        fault_point("seam-after")
        self.save()
        self.saver.write_architecture(self.stage.blueprint)
        fault_point("seam-saved")
        self.display.say(record.describe())

    def _probe_batch(self, i: int) -> Any:
        """Returns the i-th batch to measure on, of rows in an order of their own."""
        size, seed = self.run.data.batch_size, self.run.seed
        return self.stage.put(self.data.measured_batch(PROBE_STEP + i, size, seed))

    def _stop_if_asked(self, pending: Pending | None) -> None:
        if self.stop.received is not None:
            self._read(pending)  # What is saved has been checked.
            self.save()
            failure = self.saver.finish()
            number = self.stop.received
            saved = "not saved" if failure else f"saved at step {self.step}"
            raise StoppedError(
                f"{number.name}: {saved}. Run the same command again to continue.",
                exit_code=128 + number,
            )

    def save(self) -> None:
        """Begins to write a checkpoint of this boundary, unless there is one."""
        if self.step > self.resumed_step and self.run.train.on_bad_step == ROLLBACK:
            self.history.num_bad_in_a_row = 0
        self.saver.save(self.stage, self.state, self.history)

    def finish(self, *, measured: bool = True) -> dict[str, Any]:
        """Evaluates and packs the finished model, and writes ``report.json``."""
        write_json(self.folder.architecture, self.stage.blueprint.architecture())
        self.display.step(self.step, self.step, "evaluating", always=True)
        self.saver.add_time(self.history)
        last = self.stage, self.state, self.history, self.folder, self.display
        state = best_state(*last)
        parts = self.stage, state, self.data, self.history, self.folder
        report = make_report(*parts, measured=measured)
        self.saver.add_time(self.history)
        report["train"]["seconds"] = self.history.seconds
        write_json(self.folder.report, report)
        processes.barrier("the report")
        return read_json(self.folder.report)
