"""The whole of a run, from a config file, checked before anything is compiled."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from slimjax.augment.config import AugmentConfig
from slimjax.config import build
from slimjax.data.config import DataConfig
from slimjax.distill.config import START, DistillConfig
from slimjax.errors import ConfigError, suggest
from slimjax.generate.decode_config import DecodeConfig
from slimjax.mesh.mesh import MeshConfig
from slimjax.models.config import HeadSettings, ModelSettings
from slimjax.nn.gates import CHANNELS
from slimjax.objective.config import DENSE, ObjectiveConfig
from slimjax.objective.quantize import QuantizeConfig
from slimjax.resize.config import ResizeConfig
from slimjax.tasks.base import DEFAULT_TASK
from slimjax.train.comparison import MAY_CHANGE as MAY_CHANGE
from slimjax.train.comparison import without_free_keys, without_places
from slimjax.train.optim_config import OptimConfig
from slimjax.train.stated import set_aside
from slimjax.train.train_config import TrainConfig

CHOOSES_BITS = ("exchange", "learned_bits")
LEARNS_BITS = ("learned_bits",)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """All blocks of a config file.

    Attributes:
        seed: Root of all randomness.
        task: What is learned, which defines Error; see docs/tasks.md.
        stated: Settings by dotted name that the config states, and that the folder of
            ``config.model.init_from`` must agree with. It is no setting.
    """

    seed: int
    task: str
    data: DataConfig
    augment: AugmentConfig
    model: ModelSettings
    head: HeadSettings
    decode: DecodeConfig
    objective: ObjectiveConfig
    quantize: QuantizeConfig
    optim: OptimConfig
    resize: ResizeConfig
    distill: DistillConfig
    mesh: MeshConfig
    train: TrainConfig
    stated: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, metadata={"setting": False}
    )

    @property
    def seam_steps(self) -> tuple[int, ...]:
        """Steps before which a seam is due; none in a dense run."""
        if self.objective.strategy in DENSE:
            return ()
        resize, num_steps = self.resize, self.train.num_steps
        if not num_steps:  # They are not known yet: as if there were enough.
            num_steps = resize.first_step + resize.every_steps * (resize.max_seams + 1)
        return resize.seam_steps(num_steps)

    def learns_bits(self, num_seams: int) -> bool:
        """Whether depths are learned after so many seams; the last one settles them."""
        is_over = num_seams >= len(self.seam_steps)
        return self.objective.strategy in LEARNS_BITS and not is_over

    def as_dict(self) -> dict[str, Any]:
        """Returns plain data, every setting named, as it comes back from JSON."""
        plain = dataclasses.asdict(self)
        del plain["stated"]
        return json.loads(json.dumps(plain))

    def hash(self) -> str:
        """Returns a name for all that decides what the run computes, 16 hex digits."""
        flat = without_free_keys(self.as_dict())
        if self.model.init_from:  # Its tokenizer is found here or there.
            del flat["data.tokenizer"]
        text = json.dumps(flat, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


BLOCKS = {
    "data": DataConfig,
    "augment": AugmentConfig,
    "model": ModelSettings,
    "head": HeadSettings,
    "decode": DecodeConfig,
    "objective": ObjectiveConfig,
    "quantize": QuantizeConfig,
    "optim": OptimConfig,
    "resize": ResizeConfig,
    "distill": DistillConfig,
    "mesh": MeshConfig,
    "train": TrainConfig,
}


def make_run_config(config: Mapping[str, Any], *, is_stored: bool = False) -> RunConfig:
    """Checks a config of plain blocks and returns it as dataclasses.

    Args:
        config: The blocks.
        is_stored: Whether it comes from a run folder, where ``num_steps`` may have
            been computed from ``num_epochs``.

    Raises:
        ConfigError: At the first invalid setting, in one line.
    """
    if not isinstance(config, Mapping):
        raise ConfigError(f"config={config!r:.40} is no block of settings.")
    known = ("seed", "task", *BLOCKS)
    for name, value in config.items():
        if name not in known:
            hint = suggest(name, known, prefix="config.")
            raise ConfigError(f"config.{name}={value!r} is not a setting. {hint}")
    seed, task = config.get("seed", 0), config.get("task", DEFAULT_TASK)
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ConfigError(f"config.seed={seed!r} must be an integer in [0, 2^32).")
    if not isinstance(task, str):
        raise ConfigError(f"config.task={task!r} must be the name of a task.")
    stated: Mapping[str, Any] = {}
    if not is_stored:
        config, stated = set_aside(config)
    blocks = {
        name: build(cls, config.get(name, {}), f"config.{name}")
        for name, cls in BLOCKS.items()
    }
    if not is_stored and blocks["train"].num_epochs:
        blocks["train"] = _without_steps(blocks["train"], config["train"])
    run = RunConfig(seed=seed, task=task, stated=stated, **blocks)
    _check_together(run)
    return run


def _without_steps(train: TrainConfig, given: Mapping[str, Any]) -> TrainConfig:
    """Returns a block with epochs, whose number of steps is not known yet.

    Raises:
        ConfigError: If the steps were given too.
    """
    if given.get("num_steps"):
        raise ConfigError(
            f"config.train.num_steps={train.num_steps} and config.train.num_epochs="
            f"{train.num_epochs:g} exclude each other. Set one of them to 0."
        )
    return dataclasses.replace(train, num_steps=0)


def with_num_steps(run: RunConfig, num_rows: int) -> RunConfig:
    """Returns a run whose steps are known, now that the data are.

    Args:
        run: The run; one without epochs is returned as it is.
        num_rows: Rows of the training split.

    Raises:
        ConfigError: If seams, bits or the warm-up do not fit into the steps.
    """
    train = run.train
    if not train.num_epochs:
        return run
    num_steps = train.steps_of_epochs(num_rows, run.data.batch_size)
    run = dataclasses.replace(
        run, train=dataclasses.replace(train, num_steps=max(num_steps, 1))
    )
    if run.optim.warmup_steps >= max(num_steps, 1):
        raise ConfigError(
            f"config.optim.warmup_steps={run.optim.warmup_steps} must be below the "
            f"{num_steps} steps of config.train.num_epochs={train.num_epochs:g} "
            f"({num_rows} rows in batches of {run.data.batch_size})."
        )
    _check_together(run)
    return run


def _check_together(run: RunConfig) -> None:
    """Refuses blocks that are fine alone but not with each other."""
    data, optim = run.data, run.optim
    if data.batch_size % optim.accumulation_steps:
        raise ConfigError(
            f"config.data.batch_size={data.batch_size} must be a multiple of "
            f"config.optim.accumulation_steps={optim.accumulation_steps}."
        )
    _check_bits(run)
    if run.distill.is_on and run.augment.mixup:
        raise ConfigError(
            f"config.augment.mixup={run.augment.mixup} mixes answers, which are not "
            f"part of the loss of config.distill.teacher={run.distill.teacher!r}. Set "
            "it to 0."
        )
    if run.train.continue_from and run.model.init_from:
        raise ConfigError(
            f"config.train.continue_from={run.train.continue_from!r} and "
            f"config.model.init_from={run.model.init_from!r} exclude each other. Set "
            "one of them to ''."
        )
    if run.objective.strategy == "scratch" and not run.model.architecture:
        raise ConfigError(
            "config.objective.strategy='scratch' needs config.model.architecture, the "
            "architecture.json to train from a fresh start; or take 'none'."
        )
    if run.objective.strategy not in DENSE and not run.seam_steps:
        raise ConfigError(
            f"config.objective.strategy={run.objective.strategy!r} needs a seam before "
            f"config.train.num_steps={run.train.num_steps}: "
            f"{run.resize.advise(run.train.num_steps)}."
        )
    if run.distill.is_on and run.distill.teacher == START and not run.seam_steps:
        raise ConfigError(
            "config.distill.teacher='start' teaches from the first cut on, and this "
            "run has no seams. Name the folder of a finished run, or set "
            "config.resize.every_steps."
        )
    if run.distill.is_on and (run.train.label_smoothing or run.train.z_loss):
        raise ConfigError(
            "config.train.label_smoothing and config.train.z_loss have no say in the "
            f"loss of config.distill.teacher={run.distill.teacher!r}. Set them to 0."
        )
    if run.distill.is_on and (run.head.class_weights or run.head.focal_gamma):
        raise ConfigError(
            "config.head.class_weights and config.head.focal_gamma are not part of the "
            f"loss of config.distill.teacher={run.distill.teacher!r}. Leave them out."
        )


def _check_bits(run: RunConfig) -> None:
    bits, objective = run.quantize, run.objective
    if not bits.grid.is_plain:
        name = "minimum" if bits.minimum else "group_axis"
        raise ConfigError(
            f"config.quantize.{name} is for slimjax compress: in training units share "
            "steps, with levels around zero. Leave it out."
        )
    asked = f"config.quantize.bits={list(bits.bits)}"
    keeps_bits = run.train.continue_from and objective.strategy == "none"
    if bits.chooses and objective.strategy not in CHOOSES_BITS and not keeps_bits:
        raise ConfigError(
            f"{asked} leaves a choice, which config.objective.strategy="
            f"{objective.strategy!r} does not make. Give one number, or take "
            f"{' or '.join(CHOOSES_BITS)}."
        )
    if bits.chooses and "bytes" not in objective.measures and not keeps_bits:
        raise ConfigError(
            f"{asked} leaves a choice, but config.objective.size={objective.size!r} "
            "does not count bits. Set config.objective.size='bytes'."
        )
    if objective.strategy in LEARNS_BITS and not bits.chooses:
        raise ConfigError(
            f"config.objective.strategy={objective.strategy!r} needs bits to choose "
            f"from, not {asked}. Set config.quantize.bits=[16, 8, 6, 4, 3, 2]."
        )
    if objective.strategy in LEARNS_BITS and CHANNELS in run.resize.units:
        raise ConfigError(
            f"config.objective.strategy={objective.strategy!r} learns bits of whole "
            f"rows and leaves their channels alone: take {CHANNELS!r} out of "
            "config.resize.units, or config.objective.strategy='exchange'."
        )
    if bits.first_step >= run.train.num_steps > 0:
        raise ConfigError(
            f"config.quantize.first_step={bits.first_step} must come before "
            f"config.train.num_steps={run.train.num_steps}."
        )


def check_same_run(old: Mapping[str, Any], new: RunConfig) -> None:
    """Refuses to go on with a run under another config.

    Settings that `old` does not know are at their defaults in it.

    Raises:
        ConfigError: Naming the first setting that differs, both values and the remedy.
    """
    known = make_run_config(old, is_stored=True).as_dict()
    before, after = (
        without_places(without_free_keys(config)) for config in (known, new.as_dict())
    )
    computed = {"train.num_steps"} if new.train.num_epochs else set()
    for name in sorted({*before, *after} - computed):
        if before.get(name) != after.get(name):
            remedy = "Go on with that value, or name a new --workdir."
            if name == "train.num_steps":
                remedy = (
                    "Go on with that value; or name a new --workdir, and set "
                    "config.train.continue_from to this folder to train on from its "
                    "last state."
                )
            raise ConfigError(
                f"config.{name}={after.get(name)!r}, but the run in this folder has "
                f"{before.get(name)!r}. {remedy}"
            )
