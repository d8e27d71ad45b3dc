"""Saving while training goes on, and a line where it fails."""

import time

from slimjax import processes
from slimjax.errors import CheckpointError, UnreadableError
from slimjax.memory import describe, is_out_of_memory
from slimjax.run.progress import Display
from slimjax.run.resume import make_manifest
from slimjax.store.files import write_json
from slimjax.store.manifest import name_of
from slimjax.store.run_folder import RunFolder
from slimjax.train.blueprint import Blueprint
from slimjax.train.history import History
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState


class Saver:
    """Writes the checkpoints of a run, one at a time, beside the steps.

    A save that fails is reported in one line; what was saved before it is whole,
    training goes on, and the next save tries again.

    Attributes:
        valid_error: The newest validation, as (step, a number of which less is better).
    """

    def __init__(
        self, folder: RunFolder, fingerprint: str, display: Display, start_time: float
    ):
        """Writes nothing yet.

        Args:
            folder: Where to.
            fingerprint: Name of the corpus.
            display: Where failures are shown.
            start_time: When the process began with this run, `time.perf_counter`.
        """
        self.folder, self.fingerprint, self.display = folder, fingerprint, display
        self.valid_error: tuple[int, float] | None = None
        self._mark, self._failure = start_time, ""

    def save(self, stage: Stage, state: TrainState, history: History) -> None:
        """Begins to write a checkpoint of this boundary, unless there is one."""
        self.finish()
        self.add_time(history)
        step, checkpoints = int(state.step), self.folder.checkpoints
        if checkpoints.last == name_of(step, history.num_seams):
            return
        manifest = make_manifest(stage, history, self.fingerprint)
        if self.valid_error is not None and self.valid_error[0] == step:
            manifest["valid_error"] = self.valid_error[1]
        checkpoints.keep = stage.blueprint.run.train.keep
        own = self._unstack(stage, state)
        if own is not None:
            checkpoints.save(own, manifest, step, history.num_seams)

    def _unstack(self, stage: Stage, state: TrainState) -> TrainState | None:
        """Returns a state with arrays of its own for each layer; None without room."""
        own, failure = None, ""
        try:
            own = stage.layout.unstacked_to_save(state)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            failure = describe(error)
        if stage.layout.runs:
            failures = processes.exchange("the layers of a save", failure)
            failure = next(filter(None, failures), "")
        if not failure:
            return own
        self._failure = (
            f"The state of step {int(state.step)} cannot be saved: there is no memory "
            f"to have it a second time, each layer by itself. {failure} Take more "
            "devices, or config.model.scan_layers=False in a new --workdir."
        )
        return None

    def add_time(self, history: History) -> None:
        """Adds the time since the last call to the time of the run."""
        now = time.perf_counter()
        history.seconds, self._mark = history.seconds + now - self._mark, now

    def notice(self) -> None:
        """Tells of a save that has failed; waits for none, and for no other process."""
        if processes.count() == 1 and not self.folder.checkpoints.is_writing:
            self.finish()

    def finish(self) -> str:
        """Waits for the save that is being written.

        Returns:
            Why it failed, in one line; nothing if it did not.
        """
        failure, self._failure = self._failure, ""
        try:
            self.folder.checkpoints.wait()
        except CheckpointError as error:
            failure = str(error)
        if failure:
            self.display.say(f"{failure} {self._describe_older()}")
        return failure

    def _describe_older(self) -> str:
        try:
            if self.folder.checkpoints.list():
                return "The checkpoints before it are whole."
        except UnreadableError as error:
            return str(error)
        return "There is no older checkpoint."

    def finish_last(self) -> None:
        """Waits for the save at the end, without which a run is not finished.

        Raises:
            CheckpointError: If it failed.
        """
        failure = self.finish()
        if failure:
            raise CheckpointError(
                f"The last save failed: {failure} Remove the cause, then run the same "
                "command again to continue."
            )

    def write_architecture(self, blueprint: Blueprint) -> None:
        """Writes what the model looks like now; its checkpoint has it as well."""
        try:
            write_json(self.folder.architecture, blueprint.architecture())
        except OSError as error:
            self.display.say(f"{self.folder.architecture} cannot be written: {error}.")
