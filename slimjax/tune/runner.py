"""Runs trials, each once: here, or in another process that shares the folder.

Finished trials are skipped, and those that were interrupted continue, since training
does. What another process runs is waited for, and taken over if that one ends first.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slimjax.errors import ProcessError, SlimjaxError, StoppedError
from slimjax.memory import describe, is_out_of_memory
from slimjax.run.progress import Display
from slimjax.run.signals import interrupt
from slimjax.run.start import train
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.tune.arms import Trial
from slimjax.tune.claim_file import LEASE_S
from slimjax.tune.claims import Claims
from slimjax.tune.clearing import Clearing
from slimjax.tune.loading import Loader

SECONDS_BETWEEN_LOOKS = 5.0


class Runner:
    """One process's part in the trials of a folder.

    Attributes:
        root: The folder, which has a run folder for each trial.
        claims: Which process runs what.
        failures: Why trials have failed here, by their name.
    """

    def __init__(
        self,
        root: Path,
        *,
        quiet: bool,
        lease_s: float = LEASE_S,
        at_second_signal: Callable[[int], None] = interrupt,
    ):
        """Writes nothing yet."""
        self.root, self.quiet, self.at_second_signal = root, quiet, at_second_signal
        self.claims = Claims(root / "claims", lease_s=lease_s, say=self.say)
        self.failures: dict[str, str] = {}
        self._load, self._clear = Loader(), Clearing()

    def finish(self, trials: Sequence[Trial], after: Callable[[], object]) -> None:
        """Returns when all trials are finished or have failed.

        Args:
            trials: What to run, in this order.
            after: Called after each of them.
        """
        elsewhere = []
        for index, trial in enumerate(trials):
            if trial.name in self.failures:
                continue
            self.say(f"[{index + 1}/{len(trials)}] {trial.name}")
            if not self._is_settled(trial):
                self.say(f"  with {self.claims.describe(trial.name)}")
                elsewhere.append(trial)
            after()
        if elsewhere:
            self.say(f"waiting for {len(elsewhere)} runs of other processes")
        while elsewhere or any(map(self._is_tried_elsewhere, trials)):
            time.sleep(SECONDS_BETWEEN_LOOKS)
            still = [trial for trial in elsewhere if not self._is_settled(trial)]
            if len(still) < len(elsewhere):
                after()
            elsewhere = still

    def _is_tried_elsewhere(self, trial: Trial) -> bool:
        """Whether another process runs a trial that has failed here."""
        folder = RunFolder(self.root / trial.name)
        if trial.name not in self.failures or folder.report.is_file():
            return False
        with self.claims.hold(trial.name) as is_mine:
            return not is_mine

    def _is_settled(self, trial: Trial) -> bool:
        """Runs a trial, unless another process does; whether it has come to an end."""
        with self.note_failure([trial]):
            return self.attempt(trial) is not None
        return True

    def attempt(self, trial: Trial) -> dict[str, Any] | None:
        """Runs or continues a trial; returns its report, None if it runs elsewhere.

        Raises:
            SlimjaxError: What training raises.
        """
        folder = RunFolder(self.root / trial.name)
        if folder.report.is_file():
            return read_json(folder.report, dict)

        def work() -> dict[str, Any]:
            with Display(quiet=self.quiet) as display:
                return train(
                    trial.run,
                    folder.root,
                    display=display,
                    at_second_signal=self.at_second_signal,
                    load=self._load,
                )

        report = self.claims.attempt(trial.name, folder.root, work)
        if report is not None:
            self._clear()
        return report

    def wait_for(self, trial: Trial) -> dict[str, Any]:
        """Returns the report of a trial, run here or by another process."""
        report = self.attempt(trial)
        if report is None:
            self.say(f"waiting for {trial.name}, {self.claims.describe(trial.name)}")
        while report is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            report = self.attempt(trial)
        return report

    def say(self, text: str) -> None:
        """Prints a line on stderr."""
        Display(quiet=self.quiet).say(text)

    @contextmanager
    def note_failure(self, trials: Sequence[Trial]) -> Iterator[None]:
        """Notes why some trials failed, so that the others are run all the same.

        What ends the whole sweep passes: signals, lost processes, errors of ours.
        """
        try:
            yield
        except Exception as error:
            is_ours = isinstance(error, SlimjaxError)
            ends_all = isinstance(error, StoppedError | ProcessError)
            if ends_all or not (is_ours or is_out_of_memory(error)):
                raise
            reason = str(error) if is_ours else f"out of memory: {describe(error)}"
            for trial in trials:
                self.failures[trial.name] = reason
            self.say(f"  failed: {reason}")
