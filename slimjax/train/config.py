"""The whole of a run, from a config file, checked before anything is compiled."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from slimjax.config import build
from slimjax.data.config import DataConfig
from slimjax.distill.config import START, DistillConfig
from slimjax.errors import ConfigError, suggest
from slimjax.mesh.mesh import MeshConfig
from slimjax.models.config import ModelSettings
from slimjax.nn.gates import CHANNELS
from slimjax.objective.config import DENSE, ObjectiveConfig
from slimjax.objective.quantize import QuantizeConfig
from slimjax.resize.config import ResizeConfig
from slimjax.store.keep import Keep
from slimjax.train.guard import POLICIES, SKIP, Guard
from slimjax.train.optim_config import OptimConfig

TASKS = ("lm",)
CHOOSES_BITS = ("exchange", "learned_bits")
LEARNS_BITS = ("learned_bits",)
MAY_CHANGE = ("mesh", "train.eval_every_steps", "train.save_every_steps")
MAY_CHANGE += ("train.log_every_steps", "train.eval_rows", "train.keep_")
MAY_CHANGE += ("distill.cache_limit_mb",)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long a run is, and what happens on the way.

    Attributes:
        num_steps: Steps of the whole run.
        eval_every_steps: Steps between evaluations; 0 for the end only.
        eval_rows: Validation rows of an evaluation during the run, spread over the
            split; 0 for all.
        save_every_steps: Steps between checkpoints; 0 for seams and the end only.
        keep_latest: How many of the newest checkpoints are kept.
        keep_best: How many checkpoints with the smallest validation error since the
            last seam are kept, where it was measured.
        keep_every_steps: Checkpoints at multiples of this number of steps are kept for
            good; 0 for none. All others are removed, so disk usage is bounded.
        log_every_steps: Steps between lines of ``metrics.jsonl``.
        continue_from: Folder of a run at whose newest state this one starts: weights,
            moments, structure, bits and step. Empty to start afresh. Its steps count in
            `num_steps`, and its FLOPs in ``flops_total``.
        on_bad_step: What happens when the loss or a gradient is not finite, or the loss
            jumps: ``stop`` ends the run, ``skip`` leaves the update out, ``rollback``
            returns to the newest checkpoint and uses other rows.
        spike_factor: A loss above this multiple of its running mean is a jump; 0 for no
            such test.
        max_bad_steps: Bad steps in a row that a run survives; the next one stops it.
            The count ends with a good step, with ``rollback`` with a new checkpoint.
        label_smoothing: Share of each target that is spread over the vocabulary. This
            and `z_loss` are used in training only, not in losses that are reported.
        z_loss: Weight of the squared log-normaliser of the logits in the loss; 1e-4 is
            usual.
    """

    num_steps: int = 1000
    eval_every_steps: int = 100
    eval_rows: int = 256
    save_every_steps: int = 200
    keep_latest: int = 2
    keep_best: int = 1
    keep_every_steps: int = 0
    log_every_steps: int = 10
    continue_from: str = ""
    on_bad_step: str = "stop"
    spike_factor: float = 0.0
    max_bad_steps: int = 5
    label_smoothing: float = 0.0
    z_loss: float = 0.0

    def __post_init__(self):
        """Refuses runs without steps, and losses that are none."""
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, str):
                continue
            least = int(name in ("num_steps", "log_every_steps", "keep_latest"))
            if value < least:
                raise ConfigError(
                    f"config.train.{name}={value} must be {least} or more."
                )
        if self.on_bad_step not in POLICIES:
            raise ConfigError(
                f"config.train.on_bad_step={self.on_bad_step!r} is unknown. "
                f"{suggest(self.on_bad_step, POLICIES)}"
            )
        if self.spike_factor and self.spike_factor <= 1:
            raise ConfigError(
                f"config.train.spike_factor={self.spike_factor} must be above 1, such "
                "as 3.0, or 0 for no such thing."
            )
        if self.label_smoothing >= 1:
            raise ConfigError(
                f"config.train.label_smoothing={self.label_smoothing} must be below 1, "
                "such as 0.1."
            )

    @property
    def guard(self) -> Guard:
        """Who tells bad steps from good ones."""
        return Guard(self.on_bad_step == SKIP, self.spike_factor)

    @property
    def keep(self) -> Keep:
        """Which checkpoints stay."""
        return Keep(self.keep_latest, self.keep_best, self.keep_every_steps)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """All blocks of a config file.

    Attributes:
        seed: Root of all randomness.
        task: What Error means: lm.
    """

    seed: int
    task: str
    data: DataConfig
    model: ModelSettings
    objective: ObjectiveConfig
    quantize: QuantizeConfig
    optim: OptimConfig
    resize: ResizeConfig
    distill: DistillConfig
    mesh: MeshConfig
    train: TrainConfig

    @property
    def seam_steps(self) -> tuple[int, ...]:
        """Steps before which a seam is due; none where nobody can go."""
        if self.objective.strategy in DENSE:
            return ()
        return self.resize.seam_steps(self.train.num_steps)

    def learns_bits(self, num_seams: int) -> bool:
        """Whether depths are learned after so many seams; the last one settles them."""
        is_over = num_seams >= len(self.seam_steps)
        return self.objective.strategy in LEARNS_BITS and not is_over

    def as_dict(self) -> dict[str, Any]:
        """Returns plain data, every setting named, as it comes back from JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def hash(self) -> str:
        """Returns a name for all that decides what the run computes, 16 hex digits."""
        text = json.dumps(_without_free_keys(self.as_dict()), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


BLOCKS = {
    "data": DataConfig,
    "model": ModelSettings,
    "objective": ObjectiveConfig,
    "quantize": QuantizeConfig,
    "optim": OptimConfig,
    "resize": ResizeConfig,
    "distill": DistillConfig,
    "mesh": MeshConfig,
    "train": TrainConfig,
}


def make_run_config(config: Mapping[str, Any]) -> RunConfig:
    """Checks a config of plain blocks and returns it as dataclasses.

    Raises:
        ConfigError: At the first thing that cannot be meant, in one line.
    """
    if not isinstance(config, Mapping):
        raise ConfigError(f"config={config!r:.40} is no block of settings.")
    known = ("seed", "task", *BLOCKS)
    for name, value in config.items():
        if name not in known:
            hint = suggest(name, known, prefix="config.")
            raise ConfigError(f"config.{name}={value!r} is not a setting. {hint}")
    seed, task = config.get("seed", 0), config.get("task", "lm")
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ConfigError(f"config.seed={seed!r} must be an integer in [0, 2^32).")
    if task not in TASKS:
        raise ConfigError(
            f"config.task={task!r} is unknown. {suggest(str(task), TASKS)}"
        )
    blocks = {
        name: build(cls, config.get(name, {}), f"config.{name}")
        for name, cls in BLOCKS.items()
    }
    run = RunConfig(seed=seed, task=task, **blocks)
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
    if run.objective.strategy == "scratch" and not run.model.architecture:
        raise ConfigError(
            "config.objective.strategy='scratch' needs config.model.architecture, the "
            "architecture.json to train from a fresh start; or take 'none'."
        )
    if run.objective.strategy not in DENSE and not run.seam_steps:
        raise ConfigError(
            f"config.objective.strategy={run.objective.strategy!r} needs a seam before "
            f"config.train.num_steps={run.train.num_steps}: set "
            "config.resize.every_steps or config.resize.first_step."
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


def _check_bits(run: RunConfig) -> None:
    bits, objective = run.quantize, run.objective
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
    if bits.first_step >= run.train.num_steps:
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
    known = make_run_config(old).as_dict()
    before, after = _without_free_keys(known), _without_free_keys(new.as_dict())
    for name in sorted({*before, *after}):
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


def _without_free_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns dotted settings, without those that may change on the way."""
    flat = {}
    for block, values in config.items():
        if isinstance(values, Mapping):
            flat |= {f"{block}.{key}": value for key, value in values.items()}
        else:
            flat[block] = values
    return {k: v for k, v in flat.items() if not k.startswith(MAY_CHANGE)}
