"""Where a run's teacher comes from, and that it stays the same one."""

from pathlib import Path

import jax
import jax.numpy as jnp

from slimjax.data.codecs import (
    Codecs,
    fingerprints,
    normalize_of,
    sizes_of,
    with_normalize,
)
from slimjax.data.dataset import Dataset
from slimjax.data.image_config import plain_normalize
from slimjax.data.outline import DOMAIN
from slimjax.distill.alignment import without_maps
from slimjax.distill.config import START, DistillConfig
from slimjax.distill.teacher import Teacher
from slimjax.errors import CheckpointError, ConfigError, NotFeasibleError
from slimjax.generate.model import load
from slimjax.models.config import ModelConfig
from slimjax.models.head import HeadConfig
from slimjax.models.reading import count_positions
from slimjax.nn.axes import is_spread, to_host
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.base import DEFAULT_TASK
from slimjax.train.config import RunConfig
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState

COMPARED = ("classes", "positions")
"""Losses of heads whose answers are probabilities that two models can compare."""

OTHERS = {
    "binary": "answers yes or no to each label or sentence",
    "gaussian": "answers a number",
    "contrast": "answers a vector",
}
"""What heads with other losses do."""


def check_answers(config: DistillConfig, heads: tuple[HeadConfig, ...]) -> None:
    """Refuses a teacher of answers that cannot be compared, or kept.

    Raises:
        ConfigError: Naming the head, or the number of tokens.
    """
    if not config.is_on:
        return
    for head in heads:
        if head.loss not in COMPARED:
            raise ConfigError(
                f"config.distill.teacher={config.teacher!r} is for answers of which "
                f"one is right, and the head {head.name!r} {OTHERS[head.loss]}. Set "
                "config.distill.teacher=''."
            )
    first = heads[0]
    if config.keeps_outcomes and first.at != "each":
        raise ConfigError(
            f"config.distill.top_k={config.top_k} keeps outcomes of each position, and "
            "this task has one answer for each row. Set config.distill.top_k=0."
        )
    if config.keeps_outcomes and config.top_k > first.answers:
        raise ConfigError(
            f"config.distill.top_k={config.top_k} is more than the {first.answers} "
            "tokens that there are. Lower it, or set 0 for the whole distribution."
        )


def check_teacher(run: RunConfig) -> None:
    """Refuses a teacher that is not a finished run of the same task.

    Raises:
        ConfigError: Naming the folder.
    """
    config = run.distill
    if config.folder is None:
        return
    if not RunFolder(config.folder).report.is_file():
        raise ConfigError(
            f"config.distill.teacher={config.folder!r} is no finished run: it has no "
            "report.json. Train one with slimjax train, or set 'start'."
        )
    task = task_of(config.folder)
    if task != run.task:
        raise ConfigError(
            f"config.distill.teacher={config.teacher!r} was trained for the task "
            f"{task!r}, and config.task={run.task!r}. Name a teacher of the same task."
        )


def find_teacher(
    run: RunConfig, folder: RunFolder, data: Dataset, digest: str | None
) -> Teacher | None:
    """Returns the teacher that a run has now, if there is one.

    Args:
        run: The config.
        folder: The run's own folder, which keeps the teacher ``start``.
        data: What the student learns from.
        digest: The teacher that the run went on with so far; None at its beginning.

    Raises:
        ConfigError: If the teacher has another tokenizer.
        NotFeasibleError: If it is not the one that it was.
        CheckpointError: If the run's own teacher cannot be read.
    """
    config = run.distill
    if not config.is_on or config.is_together:
        return None
    if config.teacher == START and digest is None:
        return None
    if config.folder is None:
        teacher = Teacher.read(folder.teacher)
        if teacher.digest != digest:
            raise CheckpointError(f"{folder.teacher} is not this run's teacher.")
        return teacher
    teacher = _of_run(config.folder, data)
    if digest not in (None, teacher.digest):
        raise NotFeasibleError(
            f"The model in config.distill.teacher={config.folder!r} is not what it was "
            "when this run began. Restore it, or start afresh in a new --workdir."
        )
    return teacher


def task_of(folder: str | Path) -> str:
    """Returns the task that a run was trained for."""
    return read_json(RunFolder(folder).config, dict).get("task", DEFAULT_TASK)


def _of_run(folder: str | Path, data: Dataset) -> Teacher:
    model, config = load(folder), read_json(RunFolder(folder).config, dict)
    own, others = sizes_of(data.codecs), sizes_of(model.codecs)
    known = fingerprints(model.codecs)
    for name, fingerprint in fingerprints(data.codecs).items():
        is_trunk = name == DOMAIN and name not in known  # It reads no domain.
        if known.get(name) != fingerprint and not is_trunk:
            what = {"tokens": "another tokenizer"}.get(name, f"other {name}")
            raise ConfigError(
                f"config.distill.teacher={str(folder)!r} has {what} (sizes {others}) "
                f"than config.data.source={data.source!r} (sizes {own}). Train it on "
                "the data of this run."
            )
    _check_scaling(folder, with_normalize(model.codecs, config), data)
    _check_lengths(folder, model.config, data)
    return Teacher.of(model.config, jax.device_get(model.params))


def _check_scaling(folder: str | Path, codecs: Codecs, data: Dataset) -> None:
    """Refuses a teacher that was given the pixels of images in another scale."""
    theirs, own = normalize_of(codecs), normalize_of(data.codecs)
    if plain_normalize(theirs) != plain_normalize(own):
        raise ConfigError(
            f"config.distill.teacher={str(folder)!r} was trained with config.data."
            f"normalize={list(theirs)}, and this run has {list(own)}. Set that of the "
            "teacher."
        )


def _check_lengths(folder: str | Path, model: ModelConfig, data: Dataset) -> None:
    """Refuses rows that are longer than a teacher's tables of positions."""
    for tower in model.towers:
        places = tower.num_positions
        length = count_positions(tower, model.by_name, data.lengths) if places else 0
        if length > places:
            raise ConfigError(
                f"config.data.seq_len, or target_len, gives rows of {length} "
                f"positions, more than the {places} that the model of "
                f"config.distill.teacher={str(folder)!r} knows. Lower it."
            )


def keep_start(
    config: DistillConfig, stage: Stage, state: TrainState, folder: RunFolder
) -> Teacher | None:
    """Returns the teacher after a cut; at the first one, ``start`` is kept.

    Args:
        config: What is wanted.
        stage: The stage before the cut.
        state: Its last state.
        folder: Where the teacher's file is written, before any state needs it.
    """
    if stage.teacher is not None or not config.is_on or config.teacher != START:
        return stage.teacher
    state = stage.layout.place_unstacked(state)
    params = without_maps(state.params)
    if state.ema is not None:
        params = params | {"params": state.ema}
    # On a mesh no process has the whole teacher; the state's own arrays are used up.
    own = jax.tree.map(jnp.copy, params) if is_spread(params) else to_host(params)
    teacher = Teacher.of(stage.blueprint.model, own)
    teacher.write(folder.teacher)
    return teacher
