"""From a config and flags to the paths of a tune, all checked before any training."""

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimjax.data.dataset import Dataset
from slimjax.run.blueprints import make_blueprint, make_task
from slimjax.run.feasible import check_frozen, check_measures, least_of
from slimjax.run.init_shape import take_shape
from slimjax.run.progress import Display
from slimjax.run.start import check_blueprint, check_feasible
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import RunConfig, make_run_config, with_num_steps
from slimjax.tune.cost import Share
from slimjax.tune.curve import RESULT
from slimjax.tune.loading import Loader, check_alike, naming
from slimjax.tune.notes import check_held_out, list_lines, list_notes, unit_of
from slimjax.tune.path import Recipe, check_run, find_relief, make_recipe
from slimjax.tune.record import Facts
from slimjax.tune.request import (
    Request,
    check_cost,
    check_folder,
    check_rule,
    choose_sizes,
    keep_plan,
)
from slimjax.tune.walk import Walk


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A tune that can be run.

    Attributes:
        request: The flags.
        config: Blocks of the config.
        facts: What is the same for all points.
        share: What a path may cost.
        blueprint: The config's model.
        lines: What a user should know before it begins, one line each.
        notes: What the report says as well.
        load: Has the data of all folds.
    """

    request: Request
    config: Mapping[str, Any]
    facts: Facts
    share: Share
    blueprint: Blueprint
    lines: tuple[str, ...]
    notes: tuple[str, ...]
    load: Loader

    @property
    def targets_per_step(self) -> int:
        """Targets of a step."""
        return self.blueprint.targets_per_step

    def walks(self, root: Path) -> list[Walk]:
        """Returns the paths of all folds."""
        numbers = range(len(self.facts.sizes))
        return [
            self._walk(
                root,
                f"fold{fold}/trunk",
                {k: f"fold{fold}/point{k}" for k in numbers},
                of_fold(self.facts.folds, fold),
            )
            for fold in range(self.facts.folds)
        ]

    def refit_walk(self, root: Path, number: int, trunk: str, chosen: str) -> Walk:
        """Returns the path to one size on all documents outside the test split.

        Args:
            root: The folder.
            number: Which size.
            trunk: Folder of its pieces.
            chosen: Folder of its end.
        """
        data = {"num_folds": 1, "fold": 0, "valid_fraction": 0.0}
        return self._walk(root, trunk, {number: chosen}, data)

    def recipe(self, data: Mapping[str, Any]) -> Recipe:
        """Returns the recipe of a path on some documents; `data` are its settings."""
        config = with_data(self.config, data)
        run = take_shape(make_run_config(config))
        return make_recipe(config, run, self.facts.sizes, self.facts.start_size)

    def _walk(
        self,
        root: Path,
        trunk: str,
        points: dict[int, str],
        data: Mapping[str, Any],
    ) -> Walk:
        recipe = self.recipe(data)
        return Walk(root, trunk, points, recipe, self.share, self.targets_per_step)


def of_fold(num_folds: int, fold: int) -> dict[str, int]:
    """Returns the settings of ``config.data`` of a fold."""
    return {"num_folds": num_folds, "fold": fold}


def with_data(config: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns blocks with other settings of ``config.data``."""
    changed = copy.deepcopy(dict(config))
    changed["data"] = {**changed.get("data", {}), **data}
    return changed


def prepare(
    config: Mapping[str, Any], request: Request, root: Path, display: Display
) -> Prepared:
    """Checks all that can be known before any training.

    Args:
        config: Blocks of the config.
        request: The flags.
        root: The folder of the tune.
        display: Where the reading of data is shown.

    Raises:
        SlimjaxError: If a setting, a size, the cost or the folder won't do.
    """
    check_folder(root)
    check_run(make_run_config(config))
    each = [of_fold(request.folds, fold) for fold in range(request.folds)]
    runs = [take_shape(make_run_config(with_data(config, own))) for own in each]
    check_feasible(runs[0])
    load = Loader()
    data = _load_alike(runs, load, display)
    check_held_out(data, request.folds)
    run = with_num_steps(runs[0], data.num_rows("train"))
    blueprint = make_blueprint(run, data.outline)
    check_blueprint(blueprint)
    unit = unit_of(data, blueprint.task)
    facts, share = _reckon(request, blueprint, unit)
    if not (root / RESULT).is_file():  # Where it is, sizes are known exactly.
        check_rule(request, facts.sizes)
    given = with_data(config, {})
    prepared = Prepared(
        request,
        given,
        facts,
        share,
        blueprint,
        lines=list_lines(run, given, request, data),
        notes=list_notes(run, request.folds, unit),
        load=load,
    )
    last = len(facts.sizes) - 1
    reference = prepared.recipe(each[0]).trunk(last, 0, run.train.num_steps, "")
    keep_plan(root, request, reference, facts.sizes)
    return prepared


def _load_alike(runs: list[RunConfig], load: Loader, display: Display) -> Dataset:
    """Reads the data of all folds, checks them, and returns those of the first.

    Raises:
        SlimjaxError: If a fold cannot be read, or its models would be others.
    """
    folds = [load(runs[0], None, display)]
    for fold, run in enumerate(runs[1:], start=1):
        with naming(f"fold {fold}"):
            folds.append(load(run, None, display))
    check_alike(folds)
    return folds[0]


def _reckon(request: Request, blueprint: Blueprint, unit: str) -> tuple[Facts, Share]:
    """Returns sizes and cost, checked."""
    run = blueprint.run
    check_measures(blueprint)
    check_frozen(run.resize.limits(cautious=False), blueprint.inventory)
    measure = run.objective.size
    start = float(blueprint.start_sizes[measure])
    sizes = choose_sizes(request, measure, start, least_of(blueprint))
    of_step = 3 * blueprint.sizes["flops"] * blueprint.targets_per_step
    run_flops = of_step * run.train.num_steps
    total = request.cost * run_flops
    share = Share(total, sizes, start, of_step, find_relief(run))
    check_cost(request, share, run_flops)
    facts = Facts(
        task=run.task,
        target=make_task(run, blueprint.outline).target,
        measure=measure,
        start_size=start,
        sizes=sizes,
        folds=request.folds,
        cost=request.cost,
        run_flops=run_flops,
        seed=run.seed,
        unit=unit,
    )
    return facts, share
