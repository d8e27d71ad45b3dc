"""A sweep: arms with several seeds, and one file of what came out.

Its folder holds a run folder for each trial, ``claims/`` (see `claims`), ``pilots/``
(see `equal`), ``round1/`` and on (see `halving`) and ``sweep.json``. The same command
continues a sweep, and may be started several times at once.
"""

import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from slimjax.errors import ConfigError, StoppedError, suggest
from slimjax.paths import check_utf8, user_path
from slimjax.run.signals import interrupt
from slimjax.store.files import read_json, write_json
from slimjax.tune.arms import Arm, check_arm
from slimjax.tune.claim_file import LEASE_S
from slimjax.tune.equal import (
    Cost,
    check_scalable,
    find_steps,
    make_pilot,
    predictor,
    read_cost,
    scale,
)
from slimjax.tune.halving import Halving, check_halving, first_round
from slimjax.tune.outcome import describe_arm
from slimjax.tune.rounds import Rounds
from slimjax.tune.runner import Runner
from slimjax.tune.submit import BESIDE

EQUAL = ("steps", "flops")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep is to run.

    Attributes:
        arms: In order; where cost is to be equal, the first one is the reference.
        seeds: Of every arm.
        equal: ``steps``, each arm as configured; ``flops``, each with as many steps as
            spend what the reference spends (`slimjax.tune.equal`).
        halving: How arms are left out on the way; None to train all to the end.
    """

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    equal: str = "steps"
    halving: Halving | None = None

    def __post_init__(self):
        """Refuses what cannot be equal."""
        if self.equal not in EQUAL:
            hint = suggest(self.equal, EQUAL)
            raise ConfigError(f"--equal={self.equal} is unknown. {hint}")
        if self.halving is not None and self.equal == "flops":
            raise ConfigError(
                "--equal=flops and --halving exclude each other: rounds end at parts "
                "of the steps. Leave out one of them."
            )


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
    check_plan(plan, root)
    runner = Runner(
        root, quiet=quiet, lease_s=lease_s, at_second_signal=at_second_signal
    )
    with _raise_on_sigterm():
        return Sweep(plan, runner).run()


def check_settings(plan: Plan, root: Path) -> None:
    """Refuses what can be refused on any machine, without the data and the devices.

    Raises:
        SlimjaxError: Naming the arm, and what is wrong with it.
    """
    _check_folder(root, plan)
    for arm in plan.arms:
        try:
            arm.trial(plan.seeds[0])
        except ConfigError as error:
            raise ConfigError(f"arm {arm.name}: {error}") from error
        if plan.halving is not None:
            check_halving(plan.halving, arm)
    if plan.halving is not None:
        Rounds(plan.halving, plan.arms, plan.seeds, root).check_folder()


def check_plan(plan: Plan, root: Path) -> None:
    """Refuses, before any arm runs, what training would refuse.

    Raises:
        SlimjaxError: Naming the arm, and what is wrong with it.
    """
    check_settings(plan, root)
    if plan.halving is not None:
        for arm in plan.arms:
            check_arm(first_round(plan.halving, arm, root), plan.seeds, root)
        return
    for index, arm in enumerate(plan.arms):
        has_its_steps = plan.equal == "steps" or index == 0
        check_arm(arm, plan.seeds, root if has_its_steps else None)
        if plan.equal == "flops":
            check_scalable(arm.trial(plan.seeds[0]).run)


class Sweep:
    """One process's part of a sweep."""

    def __init__(self, plan: Plan, runner: Runner):
        """Writes nothing yet."""
        self.plan, self.runner, self.root = plan, runner, runner.root
        self.equal: dict[str, dict[str, float]] = {}
        self.arms = plan.arms
        self.rounds: Rounds | None = None
        if plan.halving is not None:
            self.rounds = Rounds(plan.halving, plan.arms, plan.seeds, self.root)

    def run(self) -> dict[str, Any]:
        """Runs what is to be run, and writes ``sweep.json`` after each trial."""
        self.write()
        if self.plan.equal == "flops":
            self.arms = self._equalize()
        if self.rounds is not None:
            self.rounds.run(self.runner, self.write)
        else:
            trials = [arm.trial(seed) for arm in self.arms for seed in self.plan.seeds]
            self.runner.finish(trials, self.write)
        return self.write()

    def _equalize(self) -> tuple[Arm, ...]:
        """Returns the arms with the steps that spend what the reference spends."""
        reference, *others = self.plan.arms
        seed, arms = self.plan.seeds[0], [reference]
        self.runner.say(f"the reference: {reference.name}")
        report = self.runner.wait_for(reference.trial(seed))
        target = report["train"]["flops_total"]
        self.equal[reference.name] = {"target_flops": target}
        for arm in others:
            pilot = dataclasses.replace(arm, config=make_pilot(arm.config)).trial(seed)
            pilot = dataclasses.replace(pilot, name=f"pilots/{arm.name}")
            self.runner.say(f"pilot of {arm.name}")
            with self.runner.note_failure(
                [arm.trial(seed) for seed in self.plan.seeds]
            ):
                self.runner.wait_for(pilot)
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
        is_equal, rounds = self.plan.equal == "flops", self.rounds
        content = {
            "name": self.root.resolve().name,
            "seeds": list(self.plan.seeds),
            "equal": self.plan.equal,
            "reference": self.arms[0].name if is_equal else None,
            "halving": None if rounds is None else rounds.describe(),
            "arms": [self._describe(arm) for arm in self.arms],
        }
        write_json(self.root / "sweep.json", content)
        return read_json(self.root / "sweep.json")

    def _describe(self, arm: Arm) -> dict[str, Any]:
        failures = self.runner.failures
        if self.rounds is not None:
            return self.rounds.describe_arm(arm, failures)
        trials = [arm.trial(seed) for seed in self.plan.seeds]
        entry = describe_arm(arm, trials, self.root, failures)
        return entry | self.equal.get(arm.name, {})


def _check_folder(root: Path, plan: Plan) -> None:
    """Refuses a folder that holds something else than such a sweep."""
    check_utf8(root, "--workdir")
    path = root / "sweep.json"
    if path.is_file():
        _check_kind(root, read_json(path, dict), plan)
        return
    present = {p.name for p in root.iterdir()} if root.is_dir() else set()
    if any(not name.startswith(".") for name in present - {*BESIDE}):
        raise ConfigError(
            f"--workdir={root} holds other files, no sweep; name a new folder."
        )


def _check_kind(root: Path, old: dict[str, Any], plan: Plan) -> None:
    """Refuses to go on with a sweep that halves as one that does not."""
    before = (old.get("halving") or {}).get("factor", 0) if old.get("arms") else None
    now = 0 if plan.halving is None else plan.halving.factor
    if before is not None and before != now:
        words = [f"--halving={n}" if n else "no --halving" for n in (now, before)]
        raise ConfigError(
            f"{words[0]}, but the sweep in --workdir={root} has {words[1]}. Go on with "
            "that, or name a new --workdir."
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
