"""The runner: one trial after the other, until all are finished somewhere.

A sweep's folder holds a run folder for each trial, ``claims/`` (see `claims`),
``pilots/`` (see `equal`) and ``sweep.json``. Finished trials are skipped, and those
that were interrupted continue, since training does; so the same command continues a
sweep, too.
"""

import dataclasses
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import jax

from slimjax.errors import (
    ConfigError,
    ProcessError,
    SlimjaxError,
    StoppedError,
    suggest,
)
from slimjax.memory import describe, is_out_of_memory
from slimjax.paths import check_utf8, user_path
from slimjax.run.progress import Display
from slimjax.run.signals import interrupt
from slimjax.run.start import train
from slimjax.store.files import read_json, write_json
from slimjax.store.run_folder import RunFolder
from slimjax.tune.arms import Arm, Trial, check_arm
from slimjax.tune.claim_file import LEASE_S
from slimjax.tune.claims import Claims
from slimjax.tune.equal import (
    Cost,
    check_scalable,
    find_steps,
    make_pilot,
    predictor,
    read_cost,
    scale,
)
from slimjax.tune.outcome import describe_arm

EQUAL = ("steps", "flops")
SECONDS_BETWEEN_LOOKS = 5.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep is to run.

    Attributes:
        arms: In order; where cost is to be equal, the first one is the reference.
        seeds: Of every arm.
        equal: ``steps``, each arm as configured; ``flops``, each with as many steps as
            spend what the reference spends (`slimjax.tune.equal`).
    """

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    equal: str = "steps"

    def __post_init__(self):
        """Refuses what cannot be equal."""
        if self.equal not in EQUAL:
            hint = suggest(self.equal, EQUAL)
            raise ConfigError(f"--equal={self.equal} is unknown. {hint}")


def sweep(
    plan: Plan,
    workdir: str | Path,
    *,
    quiet: bool = False,
    lease_s: float = LEASE_S,
    at_second_signal: Callable[[int], None] = interrupt,
) -> dict[str, Any]:
    """Runs all that is not finished yet, and returns what came out.

    What other processes run is waited for, and taken over if they end before it does.

    Args:
        plan: What to run.
        workdir: The sweep's folder; made if it is not there.
        quiet: Whether to show no progress on stderr.
        lease_s: Seconds after which the work of a process that shows no sign of life
            is taken over.
        at_second_signal: What a second SIGINT or SIGTERM during a run does.

    Returns:
        The content of ``sweep.json``.

    Raises:
        StoppedError: After a signal; what is done is saved.
        SlimjaxError: For a mistake of the user, before anything is run.
    """
    root = user_path(workdir, "--workdir")
    _check_folder(root)
    for index, arm in enumerate(plan.arms):
        has_its_steps = plan.equal == "steps" or index == 0
        check_arm(arm, plan.seeds, root if has_its_steps else None)
        if plan.equal == "flops":
            check_scalable(arm.trial(plan.seeds[0]).run)
    with _raise_on_sigterm():
        runner = Runner(
            plan, root, quiet=quiet, lease_s=lease_s, at_second_signal=at_second_signal
        )
        return runner.run()


class Runner:
    """One process's part of a sweep."""

    def __init__(
        self,
        plan: Plan,
        root: Path,
        *,
        quiet: bool,
        lease_s: float = LEASE_S,
        at_second_signal: Callable[[int], None] = interrupt,
    ):
        """Writes nothing yet."""
        self.at_second_signal = at_second_signal
        self.plan, self.root, self.quiet = plan, root, quiet
        self.claims = Claims(root / "claims", lease_s=lease_s, say=self.say)
        self.failures: dict[str, str] = {}
        self.equal: dict[str, dict[str, float]] = {}
        self.arms = plan.arms

    def run(self) -> dict[str, Any]:
        """Runs what is to be run, and writes ``sweep.json`` after each trial."""
        self.write()
        if self.plan.equal == "flops":
            self.arms = self._equalize()
        self.finish([arm.trial(seed) for arm in self.arms for seed in self.plan.seeds])
        return self.write()

    def finish(self, trials: Sequence[Trial]) -> None:
        """Runs trials, and waits for those that other processes run."""
        elsewhere = []
        for index, trial in enumerate(trials):
            if trial.name in self.failures:
                continue  # Its pilot failed.
            self.say(f"[{index + 1}/{len(trials)}] {trial.name}")
            with self._note_failure([trial]):
                if self.attempt(trial) is None:
                    self.say(f"  with {self.claims.describe(trial.name)}")
                    elsewhere.append(trial)
            self.write()
        for trial in elsewhere:
            with self._note_failure([trial]):
                self.wait_for(trial)
            self.write()

    @contextmanager
    def _note_failure(self, trials: Sequence[Trial]) -> Iterator[None]:
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
                )

        report = self.claims.attempt(trial.name, folder.root, work)
        if report is not None:
            jax.clear_caches()  # Programs of this shape are of no more use.
            gc.collect()
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

    def _equalize(self) -> tuple[Arm, ...]:
        """Returns the arms with the steps that spend what the reference spends."""
        reference, *others = self.plan.arms
        seed, arms = self.plan.seeds[0], [reference]
        self.say(f"the reference: {reference.name}")
        report = self.wait_for(reference.trial(seed))
        target = report["train"]["flops_total"]
        self.equal[reference.name] = {"target_flops": target}
        for arm in others:
            pilot = dataclasses.replace(arm, config=make_pilot(arm.config)).trial(seed)
            pilot = dataclasses.replace(pilot, name=f"pilots/{arm.name}")
            self.say(f"pilot of {arm.name}")
            with self._note_failure([arm.trial(seed) for seed in self.plan.seeds]):
                self.wait_for(pilot)
                arm = self._scale(arm, read_cost(self.root / pilot.name), target)
                check_arm(arm, self.plan.seeds, self.root)
            arms.append(arm)
        return tuple(arms)

    def _scale(self, arm: Arm, cost: Cost, target: float) -> Arm:
        """Returns an arm with the steps that spend `target` FLOPs; notes all three."""
        num_steps = find_steps(arm.config, cost, target)
        self.equal[arm.name] = {
            "target_flops": target,
            "predicted_flops": predictor(arm.config, cost)(num_steps),
            "pilot_flops": cost.flops_total,
        }
        return dataclasses.replace(arm, config=scale(arm.config, num_steps))

    def write(self) -> dict[str, Any]:
        """Writes ``sweep.json`` from what the trials have written, and returns it."""
        content = {
            "name": self.root.resolve().name,
            "seeds": list(self.plan.seeds),
            "equal": self.plan.equal,
            "reference": self.arms[0].name if self.plan.equal == "flops" else None,
            "arms": [
                describe_arm(arm, self.plan.seeds, self.root, self.failures)
                | self.equal.get(arm.name, {})
                for arm in self.arms
            ],
        }
        write_json(self.root / "sweep.json", content)
        return read_json(self.root / "sweep.json")


def _check_folder(root: Path) -> None:
    """Refuses a folder that holds something else than a sweep."""
    check_utf8(root, "--workdir")
    if not root.is_dir() or (root / "sweep.json").is_file():
        return
    if any(not path.name.startswith(".") for path in root.iterdir()):
        raise ConfigError(
            f"--workdir={root} holds other files, no sweep; name a new folder."
        )


@contextmanager
def _raise_on_sigterm() -> Iterator[None]:
    """Ends the sweep at once between two runs; a run itself saves first."""

    def stop(*_: object) -> NoReturn:
        message = "SIGTERM: stopped between two runs. Run the same command again to "
        message += "continue."
        raise StoppedError(message, exit_code=128 + signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
