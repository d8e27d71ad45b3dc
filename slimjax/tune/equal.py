"""Equal cost: how many steps of an arm spend as many FLOPs as the reference.

What a run that slims will spend depends on when it is cut, on what goes, and on what
its strategy measures at the seams. So a *pilot*, an eighth of the run with the whole
recipe scaled down, is trained first, and its stages are laid over the steps of a run
of n steps:

    F(n) = sum_k f_k * len_k(n) + t * n + r * min(rows(n), R) + s

with ``f_k`` the training FLOPs of a step after seam k (3 times forward), ``len_k`` the
steps between two seams, ``t`` what else a step costs (a teacher), ``r`` what a row
costs once (a teacher whose outcomes are kept; the corpus has R), ``s`` what the seams
spend on probes, whatever n is. The recipe keeps its shape: see `scale`. The pilot's own
FLOPs are reported beside, and not counted in.
"""

import bisect
import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slimjax.errors import ConfigError
from slimjax.run.init_shape import take_shape
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import MAY_CHANGE, RunConfig, make_run_config

PILOT_FRACTION = 1 / 8
MAX_STEPS = 10**9
NO_LENGTHS = (*MAY_CHANGE, "optim.accumulation_steps")
NO_LENGTHS += ("train.on_bad_step", "train.max_bad_steps")
"""Settings whose names end in steps, but that are no part of a run's length."""


def scale(config: dict[str, Any], num_steps: int) -> dict[str, Any]:
    """Returns a config whose run has `num_steps`, and the same shape.

    Every setting whose name ends in ``_step`` or ``_steps`` is scaled in proportion
    and rounded down, to 1 at least: warm-up, the first seam, the distance of seams. The
    decay of the learning rate is a fraction already. There are as many seams as before;
    they pay or not as before, since ``resize.compile_allowance_flops`` is scaled too.
    Evaluating, saving and logging stay as they are.
    """
    run = take_shape(make_run_config(config))
    factor = num_steps / run.train.num_steps
    scaled = run.as_dict()
    for block, values in scaled.items():
        for key, value in values.items() if isinstance(values, dict) else ():
            is_length = key.endswith(("_step", "_steps"))
            if is_length and value and not f"{block}.{key}".startswith(NO_LENGTHS):
                values[key] = max(1, math.floor(value * factor))
    scaled["train"]["num_steps"] = num_steps
    resize = scaled["resize"]
    resize["max_seams"] = len(run.seam_steps) or resize["max_seams"]
    resize["compile_allowance_flops"] *= factor
    return scaled


def check_scalable(run: RunConfig) -> None:
    """Refuses a run whose steps begin in another one, or are counted in epochs.

    Raises:
        ConfigError: Naming the setting.
    """
    if run.train.continue_from:
        raise ConfigError(
            f"config.train.continue_from={run.train.continue_from!r} continues "
            "another run's steps, which --equal=flops cannot scale. Take --equal=steps."
        )
    if run.train.patience:
        raise ConfigError(
            f"config.train.patience={run.train.patience} ends a run at any step, which "
            "--equal=flops cannot scale. Set it to 0, or take --equal=steps."
        )
    if run.train.num_epochs:
        raise ConfigError(
            f"config.train.num_epochs={run.train.num_epochs:g} cannot be scaled by "
            "--equal=flops. Set config.train.num_steps in its place, or take "
            "--equal=steps."
        )


def make_pilot(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the config of an arm's pilot.

    It has an eighth of the steps, or as many as its seams need between them. It is
    evaluated at its end only.
    """
    run = make_run_config(config)
    least = 1 / run.resize.every_steps if run.seam_steps else 0.0
    fraction = min(1.0, max(PILOT_FRACTION, least))
    pilot = scale(config, max(2, math.ceil(fraction * run.train.num_steps)))
    pilot["train"] |= {"eval_every_steps": 0, "save_every_steps": 0}
    pilot["objective"]["report_in"] = "nats"
    return pilot


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a finished run shows about the cost of a longer one.

    Attributes:
        flops_by_stage: Training FLOPs of a step, before the first seam and after each.
        flops_else: Other FLOPs of a step, such as a teacher's.
        flops_at_seams: FLOPs that all seams together spend.
        flops_total: FLOPs of the run itself.
        flops_of_row: FLOPs of a row that is seen for the first time.
        num_rows: Rows of the corpus.
    """

    flops_by_stage: tuple[float, ...]
    flops_else: float
    flops_at_seams: float
    flops_total: float
    flops_of_row: float = 0.0
    num_rows: int = 0

    def predict(
        self, seam_steps: Sequence[int], num_steps: int, taught_rows: int = 0
    ) -> float:
        """Returns the training FLOPs F(n) of a run of `num_steps`.

        Args:
            seam_steps: Its seams.
            num_steps: Its steps, n.
            taught_rows: Rows of those steps that have a teacher.
        """
        borders = [0, *seam_steps, num_steps]
        total = self.flops_at_seams + self.flops_else * num_steps
        total += self.flops_of_row * min(taught_rows, self.num_rows)
        for k in range(len(borders) - 1):
            stage = self.flops_by_stage[min(k, len(self.flops_by_stage) - 1)]
            total += stage * (borders[k + 1] - borders[k])
        return total


def read_cost(workdir: Path) -> Cost:
    """Returns the cost of a finished run.

    FLOPs of a stage are per target. How many targets a step has follows from what all
    steps have spent, whatever the task.
    """
    folder = RunFolder(workdir)
    run = make_run_config(read_json(folder.config), is_stored=True)
    report = read_json(folder.report)
    stages, train = report["stages"], report["train"]
    at_seams = sum(seam.get("flops_spent", 0.0) for seam in folder.seams.read())
    total, teacher = train["flops_total"], train["teacher_flops"]
    of_targets = sum(3 * s["flops_per_token"] * s["num_steps"] for s in stages)
    targets = (total - at_seams - teacher) / of_targets
    of_step = [3 * stage["flops_per_token"] * targets for stage in stages]
    once = teacher if run.distill.keeps_outcomes else 0.0
    num_rows = _count_rows(report["data"], run) if once else 0
    starts = [stage["start_step"] for stage in stages]
    running = [bisect.bisect_right(starts, step) - 1 for step in (0, *run.seam_steps)]
    return Cost(
        flops_by_stage=tuple(of_step[i] for i in running),
        flops_else=(teacher - once) / run.train.num_steps,
        flops_at_seams=at_seams,
        flops_total=total,
        flops_of_row=once / max(min(_taught_rows(run), num_rows), 1),
        num_rows=num_rows,
    )


def _count_rows(data: dict[str, Any], run: RunConfig) -> int:
    """Returns the rows of the train split, as far as a report tells."""
    if "examples_train" in data:
        return data["examples_train"]
    return data["tokens_train"] // run.data.seq_len


def _taught_rows(run: RunConfig) -> int:
    steps = run.train.num_steps - run.distill.first_step
    return max(steps, 0) * run.data.batch_size


def find_steps(config: dict[str, Any], cost: Cost, flops: float) -> int:
    """Returns the number of steps whose predicted FLOPs come nearest to `flops`."""
    predict = predictor(config, cost)
    above = bisect.bisect_left(range(MAX_STEPS), flops, lo=2, key=predict)
    return min((max(above - 1, 2), above), key=lambda n: abs(predict(n) - flops))


def predictor(config: dict[str, Any], cost: Cost) -> Callable[[int], float]:
    """Returns the function from a number of steps to the predicted FLOPs."""

    def predict(num_steps: int) -> float:
        run: RunConfig = make_run_config(scale(config, num_steps))
        return cost.predict(run.seam_steps, num_steps, _taught_rows(run))

    return predict
