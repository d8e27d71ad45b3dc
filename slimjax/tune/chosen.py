"""The model that a user is given: that of all folds, if it has the chosen size.

It is found in the folder alone, and loads no jax, so that a rule answers at once.
"""

import dataclasses
from pathlib import Path, PurePath

from slimjax.report.quantities import format_decimal
from slimjax.store.files import read_json
from slimjax.tune.answer import describe_end
from slimjax.tune.curve import CHOSEN, REFIT, Json


@dataclasses.dataclass(frozen=True)
class Model:
    """A model of the chosen size.

    Attributes:
        folder: Its run folder, below that of the tune.
        command: What uses it.
        refit_flops: FLOPs of the path on all folds that ends in it; None if it is the
            model of one fold.
        refit_in_runs: The same in dense runs of the config.
    """

    folder: str
    command: str
    refit_flops: float | None
    refit_in_runs: float | None

    @property
    def sentence(self) -> str:
        """Which model it is, and what it has cost."""
        if self.refit_in_runs is None:
            return (
                f"{self.folder} is the model of this size of the first fold; none of "
                "this size is trained on all folds."
            )
        runs = format_decimal(self.refit_in_runs, digits=2)
        return (
            f"{self.folder} is a model of this size, trained on all folds. That cost "
            f"{runs} dense runs of the config, beside what the folds cost."
        )


def find_model(root: Path, content: Json, number: int, shown: str) -> Model:
    """Returns the model of a point.

    Args:
        root: The folder of the tune.
        content: What its ``tune.json`` holds.
        number: The point.
        shown: How commands write the folder.
    """
    is_refit = find_refit(root) == number
    flops = count_refit(root, number) if is_refit else None
    folder = CHOSEN if is_refit else f"fold0/{content['points'][number]['name']}"
    return Model(
        folder,
        describe_end(shown, folder, content["task"]),
        flops,
        None if flops is None else flops / content["run_flops"],
    )


def find_refit(root: Path) -> int | None:
    """Returns the number of the size that was trained on all folds; None without one.

    The decay that ends there continues the piece of its size, ``refit/trunk/K``.
    """
    folder = root / CHOSEN
    if not (folder / "report.json").is_file():
        return None
    config = read_json(folder / "config.json", dict)
    name = PurePath(config["train"]["continue_from"]).name
    return int(name) if name.isdecimal() else None


def count_refit(root: Path, number: int) -> float:
    """Returns the FLOPs of the path on all folds, down to a size."""
    names = [*(f"{REFIT}/{k}" for k in range(number + 1)), CHOSEN]
    reports = [read_json(root / name / "report.json", dict) for name in names]
    spent = (r["train"]["flops_total"] - r["train"]["flops_inherited"] for r in reports)
    return float(sum(spent))
