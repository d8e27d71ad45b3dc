"""The settings of a compression: those of the model, and what was asked for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from slimjax.compress.config import ALL, AT_ONCE, HealConfig, Request
from slimjax.compress.gguf_budget import GGUF_BYTES, make_file_size, with_blocks
from slimjax.config import build, override
from slimjax.data.domain_config import PLAIN
from slimjax.data.pairs import pair_lengths
from slimjax.errors import ConfigError, suggest
from slimjax.generate.model import Model, load
from slimjax.interop.gguf_size import FileSize
from slimjax.models.checks import DTYPES
from slimjax.nn.grids import INPUT
from slimjax.nn.quantize import STATES
from slimjax.objective.config import ObjectiveConfig
from slimjax.objective.quantize import QuantizeConfig
from slimjax.objective.size import MEASURES
from slimjax.resize.config import ResizeConfig
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig, make_run_config

BLOCKS = ("data", "resize", "quantize", "objective", "optim")
"""Blocks of the config that a compression reads."""

SEAMS = ("first_step", "every_steps", "max_seams", "max_fraction", "max_kind_fraction")
SHAPE = ("uniform", "min_layers", "min_width", "width_multiple")
DTYPE = "model.dtype"
"""The one setting of a model that a compression may choose."""

OF_TRAINING = {
    "resize": (*SEAMS, *SHAPE, "refit_batches", "compile_allowance_flops"),
    "quantize": ("first_step",),
}
"""Settings of these blocks that training alone reads."""

GROUP_SIZE, ROW = 64, 512
"""Elements that share a step, and targets of a row, unless settings say otherwise."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that a compression needs to know.

    Attributes:
        folder: The original's folder.
        model: The original.
        run: Its settings, with the text that is asked for.
        resize: What may be removed, and what must stay.
        quantize: Bits to choose from, and elements that share a step.
        objective: What is counted.
        healing: How healing steps.
        file_size: Tells the length of an exported file, if that is counted.
    """

    folder: RunFolder
    model: Model
    run: RunConfig
    resize: ResizeConfig
    quantize: QuantizeConfig
    objective: ObjectiveConfig
    healing: HealConfig = dataclasses.field(default_factory=HealConfig)
    file_size: FileSize | None = None

    @property
    def lengths(self) -> dict[str, int]:
        """Positions of a row, by tower."""
        own, towers = self.run.data.seq_len, self.model.config.towers
        pairs = pair_lengths(self.run.data) if len(towers) > 1 else {}
        name_of = lambda tower: tower.reads if tower.name else ""
        return {tower.name: pairs.get(name_of(tower), own) for tower in towers}


def read_settings(request: Request) -> Settings:
    """Returns the settings of a request.

    Raises:
        SlimjaxError: If the folder, or what was asked for, is no good.
    """
    known = (*MEASURES, GGUF_BYTES)
    if request.size not in known:
        raise ConfigError(
            f"--size={request.size} is unknown. {suggest(request.size, known)}"
        )
    asked = _read_overrides(request)
    folder = RunFolder(request.model)
    if not folder.holds_run:
        raise ConfigError(
            f"--model={request.model} holds no run: config.json is missing. Make one "
            "with slimjax import or slimjax train."
        )
    model = _with_dtype(load(request.model), asked.get("model", {}))
    stored = read_json(folder.config, dict)
    num_positions = model.config.main.num_positions
    blocks = _run_blocks(request, stored, asked, num_positions)
    run = make_run_config(blocks, is_stored=True)
    objective, healing = _objective(request, asked), _healing(request, asked)
    quantize = dict(asked.get("quantize", {}))
    if "bytes" in objective.measures and not request.kind:
        quantize.setdefault("bits", STATES)
        quantize.setdefault("group_size", GROUP_SIZE)
        quantize.setdefault("group_axis", INPUT)
    resize = build(ResizeConfig, asked.get("resize", {}), "config.resize")
    file_size = None
    if request.kind:
        file_size = make_file_size(model, run.task, request.kind)
        resize = with_blocks(resize, model.config, request.kind)
    return Settings(
        folder=folder,
        model=model,
        run=run,
        resize=resize,
        quantize=build(QuantizeConfig, quantize, "config.quantize"),
        objective=objective,
        healing=healing,
        file_size=file_size,
    )


def _read_overrides(request: Request) -> dict[str, Any]:
    """Returns the blocks of settings that were asked for.

    Raises:
        ConfigError: If one is not read, or not a block.
    """
    for name, _ in request.overrides:
        block, _, setting = name.partition(".")
        if block not in (*BLOCKS, "seed") and name != DTYPE:
            raise ConfigError(
                f"--config.{name} is no setting of slimjax compress, which reads the "
                f"blocks {', '.join(BLOCKS)}, and the settings seed and {DTYPE}."
            )
        if setting in OF_TRAINING.get(block, ()):
            raise ConfigError(
                f"--config.{name} is read by training alone, not by slimjax compress. "
                "Leave it out."
            )
    asked = override({}, request.overrides)
    for block in BLOCKS:
        if not isinstance(asked.get(block, {}), Mapping):
            raise ConfigError(
                f"--config.{block}={asked[block]!r} must be a block of settings."
            )
    return asked


def _with_dtype(model: Model, asked: Mapping[str, Any]) -> Model:
    """Returns a model whose products have the operands that were asked for.

    Raises:
        ConfigError: If there is no such type.
    """
    dtype = asked.get("dtype", model.config.dtype)
    if dtype not in DTYPES:
        raise ConfigError(
            f"--config.{DTYPE}={dtype} is unknown. {suggest(dtype, DTYPES)}"
        )
    config = dataclasses.replace(model.config, dtype=dtype)
    return dataclasses.replace(model, config=config)


def _run_blocks(
    request: Request, stored: dict[str, Any], asked: dict[str, Any], num_positions: int
) -> dict[str, Any]:
    """Returns the settings of the run that is read from, with other data."""
    kept = ("task", "data", "model", "head", "seed", "mesh")
    blocks = {name: stored[name] for name in kept if name in stored}
    data = {**blocks.get("data", {}), **PLAIN, "source": request.data}
    data |= dict(valid_source="", test_source="")
    data["seq_len"] = min(ROW, data.get("seq_len", ROW))
    most = num_positions - 1 if num_positions else data["seq_len"]  # Bos may be read.
    data["seq_len"] = min(data["seq_len"], most)
    blocks["data"] = data | asked.get("data", {})
    length = blocks["data"]["seq_len"]
    if num_positions and isinstance(length, int) and length > most:
        raise ConfigError(
            f"config.data.seq_len={length} is more than {most}, the targets of a row "
            f"that a model of {num_positions} positions can have."
        )
    if "seed" in asked:
        blocks["seed"] = asked["seed"]
    return blocks


def limits_of_budget(
    settings: Settings, budget: str, start: Mapping[str, float]
) -> dict[str, float]:
    """Returns the largest size in each measure that has a budget.

    Args:
        settings: Know the measures.
        budget: As it was asked for; `ALL` for those of the settings.
        start: Sizes of the original.

    Raises:
        ConfigError: If one is no size, or above the model's.
    """
    asked = settings.objective
    if budget != ALL:
        asked = dataclasses.replace(asked, budget=budget)
    limits = asked.budget_sizes(start)
    for measure, size in limits.items():
        if size > start[measure]:
            raise ConfigError(
                f"{name_budget(budget)} is above the {start[measure]:,.0f} {measure} "
                "that the model has. Set a smaller one."
            )
    return limits


def name_budget(budget: str) -> str:
    """Returns what a budget is called in a message."""
    return f"config.{AT_ONCE}" if budget == ALL else f"--budget={budget}"


def _healing(request: Request, asked: Mapping[str, Any]) -> HealConfig:
    """Returns how healing steps.

    Raises:
        ConfigError: If a setting is not one of healing, or nothing is to be healed.
    """
    given = asked.get("optim", {})
    known = [field.name for field in dataclasses.fields(HealConfig)]
    for name, value in given.items():
        if name not in known:
            raise ConfigError(
                f"--config.optim.{name} is no setting of slimjax compress: healing "
                f"reads {' and '.join(known)}."
            )
        if not request.heal_steps:
            raise ConfigError(
                f"--config.optim.{name}={value} is read by healing alone. Set "
                "--heal_steps, or leave it out."
            )
    healing = build(HealConfig, given, "config.optim")
    if healing.warmup_steps >= max(request.heal_steps, 1):
        raise ConfigError(
            f"config.optim.warmup_steps={healing.warmup_steps} must be below "
            f"--heal_steps={request.heal_steps}."
        )
    return healing


def _objective(request: Request, asked: Mapping[str, Any]) -> ObjectiveConfig:
    """Returns what is counted, and the budgets.

    Raises:
        ConfigError: If it is unknown, or cannot be counted without a measurement.
    """
    given = dict(asked.get("objective", {}))
    for name in given:
        if name != "budgets":
            raise ConfigError(
                f"--config.objective.{name} is no setting of slimjax compress: give "
                "--size and --budget, or --config.objective.budgets."
            )
    if not given:
        measure = "bytes" if request.kind else request.size  # Of the exported file.
        given = dict(size=measure, budget=request.budgets[0])
    objective = build(
        ObjectiveConfig, dict(strategy="exchange", **given), "config.objective"
    )
    for measure in objective.measures:
        if measure not in MEASURES:
            raise ConfigError(
                f"config.objective.budgets: {measure!r} is no measure of slimjax "
                f"compress. {suggest(measure, MEASURES)}"
            )
    return objective
