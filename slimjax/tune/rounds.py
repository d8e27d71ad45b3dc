"""The rounds of successive halving: train all, rank, go on with the best.

A round is ranked once all its runs have ended, and the decision is written once, to
``ranking.json``. It depends on errors rounded to four digits, and on names where those
are equal. So it does not matter how many processes train, which of them is the fastest,
or whether one was killed.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slimjax.errors import ConfigError
from slimjax.store.files import read_json, write_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import make_run_config
from slimjax.tune.arms import Arm
from slimjax.tune.halving import NUM_ROUNDS, Halving, make_trial, name_trial
from slimjax.tune.outcome import describe_arm
from slimjax.tune.ranks import find_ranking, rank, round_digits
from slimjax.tune.runner import SECONDS_BETWEEN_LOOKS, Runner

RANKING = "ranking.json"
FLAGS = {"factor": "--halving", "metric": "--metric", "seeds": "--seeds"}

Json = dict[str, Any]


class Rounds:
    """The rounds of a sweep.

    Attributes:
        halving: How arms are left out.
        arms: All arms, in order.
        seeds: Of every arm.
        metric: By what arms are ranked.
        decisions: Of the rounds that are over: ``ranking``, ``failed``, ``promoted``.
    """

    def __init__(
        self, halving: Halving, arms: Sequence[Arm], seeds: Sequence[int], root: Path
    ):
        """Trains nothing yet.

        Raises:
            ConfigError: If there are too few arms, or the metric cannot be ranked by.
        """
        if len(arms) < halving.factor:
            raise ConfigError(
                f"--halving={halving.factor} needs {halving.factor} arms or more, and "
                f"--grid gives {len(arms)}."
            )
        self.halving, self.arms, self.seeds = halving, tuple(arms), tuple(seeds)
        self.root = root
        found = [find_ranking(make_run_config(a.config), halving.metric) for a in arms]
        if len(set(found)) > 1:
            raise ConfigError(
                "--grid: the arms have different metrics, and --halving ranks them by "
                "one. Name it with --metric."
            )
        self.metric = found[0]
        self.decisions: list[Json] = []

    def check_folder(self) -> None:
        """Refuses a folder whose first round was decided among other arms.

        Raises:
            ConfigError: Naming what differs.
        """
        path = self._path(0)
        if not path.is_file():
            return
        old = read_json(path, dict)
        for name, value in self._settings().items():
            if old.get(name) != value:
                raise ConfigError(
                    f"{FLAGS[name]}: {value}, but the first round in --workdir="
                    f"{self.root} was decided with {old.get(name)}. Go on with that, "
                    "or name a new --workdir."
                )
        known = {entry["arm"] for entry in [*old["ranking"], *old["failed"]]}
        odd = sorted(known ^ {arm.name for arm in self.arms})
        if odd:
            raise ConfigError(
                f"--grid: the first round in --workdir={self.root} was decided among "
                f"other arms; {odd[0]} is in one of the two only. Go on with that "
                "grid, or name a new --workdir."
            )

    def run(self, runner: Runner, write: Callable[[], object]) -> None:
        """Trains all rounds; calls `write` after each run and each decision."""
        arms = list(self.arms)
        for index in range(NUM_ROUNDS):
            if not self._path(index).is_file():
                pairs = [(arm, seed) for arm in arms for seed in self.seeds]
                trials = [make_trial(self.halving, *p, index, self.root) for p in pairs]
                runner.finish(trials, write)
            self.decisions.append(self._decide(arms, index, runner))
            names = self.decisions[-1]["promoted"]
            runner.say(f"round {index + 1} is over; the best: {', '.join(names)}")
            arms = [arm for arm in arms if arm.name in names]

    def describe(self) -> Json:
        """Returns what ``sweep.json`` has of the rounds."""
        steps, flops, whole = 0, 0.0, 0
        for arm in self.arms:
            ends = self.halving.steps(make_run_config(arm.config).train.num_steps)
            for seed in self.seeds:
                whole += ends[-1]
                for index, (begin, end) in enumerate(
                    zip((0, *ends), ends, strict=False)
                ):
                    report = self._read(arm, seed, index)
                    if report is not None:
                        train, steps = report["train"], steps + end - begin
                        flops += train["flops_total"] - train["flops_inherited"]
        metric = {"words": self.metric.words, "better": self.metric.better}
        spent = {"steps_fraction": steps / whole, "flops_spent": flops}
        return self._settings() | metric | spent | {"rounds": self.decisions}

    def describe_arm(self, arm: Arm, failures: Mapping[str, str]) -> Json:
        """Returns an arm as ``sweep.json`` has it.

        An arm that did not go on has no figures of its own, since those are of the
        plateau; ``rounds`` has the values by which it was ranked.
        """
        pairs = [(arm, seed, NUM_ROUNDS - 1) for seed in self.seeds]
        trials = [make_trial(self.halving, *pair, self.root) for pair in pairs]
        entry = describe_arm(arm, trials, self.root, failures)
        entry["rounds"] = []
        for number, decision in enumerate(self.decisions, start=1):
            values = {e["arm"]: e["value"] for e in decision["ranking"]}
            failed = {e["arm"]: e["reason"] for e in decision["failed"]}
            if arm.name in values:
                entry["rounds"].append(values[arm.name])
            ends = {
                "state": "stopped",
                "reason": f"not among the best of round {number}",
            }
            if arm.name in failed:
                ends = {"state": "failed", "reason": failed[arm.name]}
            elif arm.name not in values or arm.name in decision["promoted"]:
                continue
            for trial in entry["trials"]:
                if trial["state"] != "finished":
                    trial |= ends
        return entry

    def _path(self, index: int) -> Path:
        return self.root / f"round{index + 1}" / RANKING

    def _settings(self) -> Json:
        """Returns what a decision depends on, beside the runs."""
        return {
            "factor": self.halving.factor,
            "metric": self.metric.name,
            "seeds": list(self.seeds),
        }

    def _decide(self, arms: Sequence[Arm], index: int, runner: Runner) -> Json:
        """Returns the decision about a round; one process writes it, for all."""
        if index == NUM_ROUNDS - 1:
            return self._rank(arms, index, runner.failures)
        path = self._path(index)
        while not path.is_file():
            with runner.claims.hold(f"round{index + 1}/ranking") as is_mine:
                if is_mine and not path.is_file():
                    write_json(path, self._rank(arms, index, runner.failures))
            if not is_mine:
                time.sleep(SECONDS_BETWEEN_LOOKS)
        return read_json(path, dict)

    def _rank(
        self, arms: Sequence[Arm], index: int, failures: Mapping[str, str]
    ) -> Json:
        values, failed = {}, []
        for arm in arms:
            found = [self._value(arm, seed, index) for seed in self.seeds]
            known = [value for value in found if value is not None]
            if len(known) == len(found):
                values[arm.name] = round_digits(statistics.fmean(known))
                continue
            names = [name_trial(arm, seed, index) for seed in self.seeds]
            reasons = [failures[name] for name in names if name in failures]
            reason = reasons[0] if reasons else f"no {self.metric.name} that is finite"
            failed.append({"arm": arm.name, "reason": reason})
        order = rank(values, self.metric.better)
        is_last = index == NUM_ROUNDS - 1
        num = 1 if is_last else self.halving.num_promoted(len(arms))
        return self._settings() | {
            "ranking": [{"arm": name, "value": values[name]} for name in order],
            "failed": failed,
            "promoted": order[:num],
        }

    def _value(self, arm: Arm, seed: int, index: int) -> float | None:
        """Returns the metric of a finished run; None if it is not a finite number."""
        report = self._read(arm, seed, index) or {}
        value = report.get("error", {}).get(self.metric.name)
        is_known = isinstance(value, int | float) and math.isfinite(value)
        return float(value) if is_known else None

    def _read(self, arm: Arm, seed: int, index: int) -> Json | None:
        report = RunFolder(self.root / name_trial(arm, seed, index)).report
        return read_json(report, dict) if report.is_file() else None
