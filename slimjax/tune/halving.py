"""Successive halving: all arms train for a ninth of their steps, few to the end.

With a factor f, a run of n steps is trained in three rounds, to n / f^2, n / f and n
steps. After a round the best of every f arms go on (`slimjax.tune.rounds`), each from
the state in which the round left it. Only the last round has a decay of the learning
rate: before it, arms are compared at the peak, on the plateau.

References:
    Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization", 2016, section 3 (successive halving).
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

from slimjax.distill.config import START
from slimjax.errors import ConfigError
from slimjax.objective.config import DENSE
from slimjax.run.init_shape import input_codecs, take_shape
from slimjax.train.config import RunConfig, make_run_config
from slimjax.tune.arms import Arm, Trial

NUM_ROUNDS = 3
LEAST_FACTOR, MOST_FACTOR = 2, 10


@dataclasses.dataclass(frozen=True)
class Halving:
    """How arms are left out on the way.

    Attributes:
        factor: Of how many arms one goes on, f.
        metric: By what they are ranked, such as ``valid_bits_per_byte``; empty for the
            headline of the task.
    """

    factor: int
    metric: str = ""

    def __post_init__(self):
        """Refuses factors with which nothing is saved, or nothing is compared."""
        if not LEAST_FACTOR <= self.factor <= MOST_FACTOR:
            raise ConfigError(
                f"--halving={self.factor} must be in [{LEAST_FACTOR}, {MOST_FACTOR}], "
                "such as 3."
            )

    def steps(self, num_steps: int) -> tuple[int, ...]:
        """Returns the steps at which the rounds of a run end.

        Examples:
            >>> Halving(3).steps(900), Halving(3).steps(100)
            ((100, 300, 900), (12, 34, 100))
        """
        powers = range(NUM_ROUNDS - 1, -1, -1)
        return tuple(math.ceil(num_steps / self.factor**power) for power in powers)

    def num_promoted(self, num_arms: int) -> int:
        """Returns how many of the arms of a round go on; at least one does."""
        return max(num_arms // self.factor, 1)


def name_trial(arm: Arm, seed: int, index: int) -> str:
    """Returns the folder of an arm's run in a round, counted from 0."""
    own = f"{arm.name}-seed{seed}"
    return own if index == NUM_ROUNDS - 1 else f"round{index + 1}/{own}"


def make_trial(halving: Halving, arm: Arm, seed: int, index: int, root: Path) -> Trial:
    """Returns the run of an arm in a round, counted from 0.

    A seam pays in a round as it pays in the whole run, since
    ``resize.compile_allowance_flops`` is scaled.
    """
    run = take_shape(make_run_config(arm.config | {"seed": seed}))
    steps, config = halving.steps(run.train.num_steps), run.as_dict()
    config["train"]["num_steps"] = steps[index]
    config["optim"]["decay_fraction"] = config["distill"]["decay_fraction"] = 0.0
    config["resize"]["compile_allowance_flops"] *= steps[index] / steps[-1]
    if index == NUM_ROUNDS - 1:
        last = 1 - steps[-2] / steps[-1]
        for block, own in (("optim", run.optim), ("distill", run.distill)):
            config[block]["decay_fraction"] = min(own.decay_fraction, last)
    if index:
        before = root / name_trial(arm, seed, index - 1)
        config["train"]["continue_from"] = str(before)
        config["model"]["init_from"] = ""
    return Trial(name_trial(arm, seed, index), make_run_config(config))


def first_round(halving: Halving, arm: Arm, root: Path) -> Arm:
    """Returns an arm whose runs are those of the first round, to be checked."""
    config: dict[str, Any] = make_trial(halving, arm, 0, 0, root).run.as_dict()
    return Arm(f"round1/{arm.name}", arm.changes, config)


def check_halving(halving: Halving, arm: Arm) -> None:
    """Refuses an arm that cannot be trained in rounds.

    Raises:
        ConfigError: Naming the arm and the setting.
    """
    try:
        _check(halving, make_run_config(arm.config))
    except ConfigError as error:
        raise ConfigError(f"arm {arm.name}: {error}") from error


def _check(halving: Halving, run: RunConfig) -> None:
    asked = f"--halving={halving.factor}"
    train = run.train
    for name, value, why in (
        ("continue_from", train.continue_from, "continues another run"),
        ("patience", train.patience, "ends a run at any step"),
        ("num_epochs", train.num_epochs, "does not say how many steps there are"),
    ):
        if value:
            raise ConfigError(
                f"config.train.{name}={value!r} {why}, but {asked} trains to a ninth, "
                "a third and all of a run's steps. Set config.train.num_steps alone."
            )
    if run.distill.is_on and run.distill.teacher == START:
        raise ConfigError(
            f"config.distill.teacher='start' is the model of one run, and {asked} "
            "continues runs. Name the folder of a finished run, or set it to ''."
        )
    first, second, last = halving.steps(train.num_steps)
    if not first < second < last:
        raise ConfigError(
            f"config.train.num_steps={last} is too few for {asked}: its rounds would "
            f"end at {first}, {second} and {last}."
        )
    if run.optim.warmup_steps >= first:
        raise ConfigError(
            f"config.optim.warmup_steps={run.optim.warmup_steps} must be below the "
            f"{first} steps of the first round of {asked}."
        )
    if run.objective.strategy not in DENSE and run.seam_steps[0] >= first:
        raise ConfigError(
            f"config.resize: the first seam is at step {run.seam_steps[0]}, behind the "
            f"first round of {asked}, which ends at step {first}: it would compare "
            f"models that are not slimmed yet. Set config.resize.first_step below "
            f"{first}."
        )
    if run.model.init_from and input_codecs(run):
        raise ConfigError(
            f"config.model.init_from={run.model.init_from!r} has scaled features or "
            f"two tokenizers, which {asked} cannot hand on. Leave out one of the two."
        )
