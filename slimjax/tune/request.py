"""What a user asks ``slimjax tune`` for, checked before anything is trained."""

import dataclasses
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimjax.errors import ConfigError, NotFeasibleError, suggest
from slimjax.objective.config import ObjectiveConfig
from slimjax.paths import check_utf8
from slimjax.store.files import read_json, write_json
from slimjax.train.config import RunConfig, check_same_run
from slimjax.tune.cost import MIN_STEPS, Share, geometric_sizes, round_up
from slimjax.tune.curve import TEXT
from slimjax.tune.rules import FOR_TASKS, FOR_TEXT, parse_rule
from slimjax.tune.submit import BESIDE

PLAN = "plan.json"
"""The file of what decides all that is trained."""

REFITS, COMPARISONS = ("chosen", "none"), ("none", "scratch")
MAX_POINTS, MAX_FOLDS = 100, 100

OTHERS = {"sweep.json": "a sweep", "config.json": "a run"}
"""Files that tell whose folder it is."""


@dataclasses.dataclass(frozen=True)
class Request:
    """The flags.

    Attributes:
        points: Number of sizes.
        folds: Parts for cross-validation; 1 for one split by ``data.valid_fraction``.
        sizes: Sizes as they were written; empty for `points` of them in even ratios.
        smallest: The smallest of those.
        cost: All pieces and decays of a fold, in dense runs of the config.
        rule: What chooses; empty for the one that suits the task.
        refit: Whether the chosen size is trained on all folds.
        compare: What stands beside the path.

    Raises:
        ConfigError: Naming the flag and its range.
    """

    points: int = 10
    folds: int = 3
    sizes: str = ""
    smallest: str = "10%"
    cost: float = 3.0
    rule: str = ""
    refit: str = "chosen"
    compare: str = "none"

    def __post_init__(self):
        """Refuses what no path can have."""
        _check_range("points", self.points, 2, MAX_POINTS)
        _check_range("folds", self.folds, 1, MAX_FOLDS)
        if not 0 < self.cost < float("inf"):
            raise ConfigError(
                f"--cost={self.cost} must be a number above 0, such as 3."
            )
        for name, known in (("refit", REFITS), ("compare", COMPARISONS)):
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(
                    f"--{name}={value} is unknown. {suggest(value, known)}"
                )
        rule = parse_rule(self.rule) if self.rule else None
        if rule is not None and rule.name == FOR_TASKS and self.folds == 1:
            raise ConfigError(
                f"--rule={self.rule} with --folds=1: there is no standard error. Take "
                "--folds=3."
            )

    def rule_for(self, task: str) -> str:
        """Returns the rule, by default the one that suits the task and the folds."""
        if self.rule:
            return self.rule
        return FOR_TEXT if task == TEXT or self.folds == 1 else FOR_TASKS

    def plan(self) -> dict[str, Any]:
        """Returns what a folder keeps: all that decides what is trained."""
        kept = ("folds", "cost")
        return {name: getattr(self, name) for name in kept}


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigError(f"--{name}={value} must be in [{least}, {most}].")


def choose_sizes(
    request: Request, measure: str, start: float, least: float
) -> tuple[float, ...]:
    """Returns the sizes of the points, the largest first.

    Args:
        request: The flags.
        measure: What counts.
        start: Size of the model that the path starts from.
        least: Size that must stay.

    Raises:
        ConfigError: Naming a size and the limits.
    """
    parse = lambda text, flag: _parse_size(text, measure, start, flag)
    if not request.sizes:
        smallest = parse(request.smallest, f"--smallest={request.smallest}")
        _check_limits([smallest], measure, start, least, "--smallest")
        if smallest >= start:
            raise ConfigError(
                f"--smallest={request.smallest} must be below the model's "
                f"{start:,.6g} {measure}."
            )
        sizes = geometric_sizes(start, smallest, request.points)
        _check_apart(sizes, request)
        _check_limits(sizes[-1:], measure, start, least, "--smallest")
        return sizes
    flag = f"--sizes={request.sizes}"
    sizes = [parse(text, flag) for text in request.sizes.split(",")]
    if len(sizes) < 2:
        raise ConfigError(f"{flag} must have two sizes or more.")
    for before, after in itertools.pairwise(sizes):
        if before <= after:
            raise ConfigError(
                f"{flag}: {after:,.6g} comes after {before:,.6g}. Write each size "
                "once, the largest first."
            )
    _check_limits(sizes, measure, start, least, "--sizes")
    return tuple(sizes)


def _parse_size(text: str, measure: str, start: float, flag: str) -> float:
    try:
        asked = ObjectiveConfig("exchange", size=measure, budget=text)
        return asked.budget_size(start)
    except ConfigError as error:
        raise ConfigError(
            f"{flag}: {text!r} is no size. Write a number in {measure}, such as 2M, or "
            "a part of the start, such as 40%."
        ) from error


def _check_apart(sizes: Sequence[float], request: Request) -> None:
    """Refuses sizes that are the same with four digits."""
    for before, after in itertools.pairwise(sizes):
        if before <= after:
            raise ConfigError(
                f"--smallest={request.smallest} with --points={request.points} gives "
                f"{after:,.6g} twice: sizes have four digits. Take fewer points, or a "
                "smaller --smallest."
            )


def _check_limits(
    sizes: Sequence[float], measure: str, start: float, least: float, flag: str
) -> None:
    """Refuses a size, as it is used, beyond the limits."""
    for size in sizes:
        if not least <= size <= start:
            raise ConfigError(
                f"{flag}: {size:,.6g} {measure} is outside the limits: the model has "
                f"{start:,.6g}, and {round_up(least):,.6g} must stay (embeddings, "
                "norms, minima and frozen parts)."
            )


def check_cost(request: Request, share: Share, run_flops: float) -> None:
    """Refuses a cost with which pieces would be too short.

    Raises:
        ConfigError: With the least cost that does.
    """
    least = share.least_total() / run_flops
    if request.cost < least:
        raise ConfigError(
            f"--cost={request.cost:g} gives a piece of the path less than {MIN_STEPS} "
            f"steps. The least cost that does for {len(share.sizes)} points is "
            f"--cost={least * 1.0005 + 0.0005:.3f}."
        )


def check_rule(request: Request, sizes: Sequence[float]) -> None:
    """Refuses a rule that no point will meet.

    Args:
        request: The flags.
        sizes: Those of the points, the largest first.

    Raises:
        NotFeasibleError: With the smallest size.
    """
    rule = parse_rule(request.rule) if request.rule else None
    if rule is None or rule.name != "size_below" or rule.value is None:
        return
    if rule.value < sizes[-1]:
        raise NotFeasibleError(
            f"--rule={request.rule}: no point will be so small. The smallest size is "
            f"{sizes[-1]:,.6g}. Take a smaller --smallest, or --sizes."
        )


def check_folder(root: Path) -> None:
    """Refuses a folder that cannot be written to, or holds something else.

    Raises:
        ConfigError: Naming the folder.
    """
    check_utf8(root, "--workdir")
    for name, what in OTHERS.items():
        if (root / name).is_file() and not (root / PLAN).is_file():
            raise ConfigError(f"--workdir={root} holds {what}; name a new folder.")
    present = {p.name for p in root.iterdir()} if root.is_dir() else set()
    foreign = [name for name in present - {*BESIDE} if not name.startswith(".")]
    if foreign and not (root / PLAN).is_file():
        raise ConfigError(
            f"--workdir={root} holds other files, no tune; name a new folder."
        )
    nearest = root.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise ConfigError(f"--workdir={root}: {nearest} is not a writable folder.")


def keep_plan(
    root: Path, request: Request, run: RunConfig, sizes: tuple[float, ...]
) -> None:
    """Writes what decides all that is trained, or compares it with what is there.

    Args:
        root: The folder.
        request: The flags.
        run: The config, without what the path sets itself.
        sizes: The sizes of the points.

    Raises:
        ConfigError: Naming the first setting that differs, old and new.
    """
    plan = {"flags": request.plan() | {"sizes": list(sizes)}, "config": run.as_dict()}
    path = root / PLAN
    if not path.is_file():
        write_json(path, plan)
        return
    old = read_json(path, dict)
    flags: Mapping[str, Any] = old.get("flags", {})
    for name, value in json.loads(json.dumps(plan["flags"])).items():
        if flags.get(name) != value:
            raise ConfigError(
                f"--{name}={_show(value)}, but the tune in --workdir={root} has "
                f"{_show(flags.get(name))}. Go on with that value, or name a new "
                "--workdir."
            )
    check_same_run(old.get("config", {}), run)


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(f"{each:g}" for each in value)
    return f"{value:g}" if isinstance(value, int | float) else str(value)
