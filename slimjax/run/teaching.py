"""Where a run's teacher comes from, and that it stays the same one."""

from pathlib import Path

import jax

from slimjax.data.corpus import Corpus
from slimjax.distill.alignment import without_maps
from slimjax.distill.config import START, DistillConfig
from slimjax.distill.teacher import Teacher, read_teacher, write_teacher
from slimjax.errors import CheckpointError, ConfigError, NotFeasibleError
from slimjax.generate.model import load
from slimjax.nn.axes import to_host
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState


def check_teacher(config: DistillConfig, vocab_size: int) -> None:
    """Refuses a teacher that is no finished run, or has fewer tokens than are kept.

    Raises:
        ConfigError: Naming the folder, or the number of tokens.
    """
    if config.keeps_outcomes and config.top_k > vocab_size:
        raise ConfigError(
            f"config.distill.top_k={config.top_k} is more than the {vocab_size} tokens "
            "that there are. Lower it, or set 0 for the whole distribution."
        )
    if config.folder is not None and not RunFolder(config.folder).report.is_file():
        raise ConfigError(
            f"config.distill.teacher={config.folder!r} is no finished run: it has no "
            "report.json. Train one with slimjax train, or set 'start'."
        )


def find_teacher(
    run: RunConfig, folder: RunFolder, corpus: Corpus, digest: str | None
) -> Teacher | None:
    """Returns the teacher that a run has now, if there is one.

    Args:
        run: The config.
        folder: The run's own folder, which keeps the teacher ``start``.
        corpus: What the student learns from.
        digest: The teacher that the run went on with so far; None at its beginning.

    Raises:
        ConfigError: If the teacher knows other tokens.
        NotFeasibleError: If it is not the one that it was.
        CheckpointError: If the run's own teacher cannot be read.
    """
    config = run.distill
    if not config.is_on or (config.teacher == START and digest is None):
        return None
    if config.folder is None:
        teacher = read_teacher(folder.teacher)
        if teacher.digest != digest:
            raise CheckpointError(f"{folder.teacher} is not this run's teacher.")
        return teacher
    teacher = _of_run(config.folder, corpus)
    if digest not in (None, teacher.digest):
        raise NotFeasibleError(
            f"The model in config.distill.teacher={config.folder!r} is not what it was "
            "when this run began. Restore it, or start afresh in a new --workdir."
        )
    return teacher


def _of_run(folder: str | Path, corpus: Corpus) -> Teacher:
    model = load(folder)
    if model.tokenizer.fingerprint != corpus.tokenizer.fingerprint:
        raise ConfigError(
            f"config.distill.teacher={str(folder)!r} knows other tokens "
            f"({model.tokenizer.vocab_size}) than config.data.source={corpus.source!r} "
            f"has ({corpus.tokenizer.vocab_size}). Train it on the data of this run."
        )
    return Teacher.of(model.config, jax.device_get(model.params))


def keep_start(
    config: DistillConfig, stage: Stage, state: TrainState, folder: RunFolder
) -> Teacher | None:
    """Returns who teaches after a cut; at the first one, ``start`` is kept.

    Args:
        config: What is wanted.
        stage: The stage before the cut.
        state: Its last state.
        folder: Where the teacher's file is written, before any state needs it.
    """
    if stage.teacher is not None or not config.is_on or config.teacher != START:
        return stage.teacher
    state = stage.layout.place_apart(state)
    params = to_host(without_maps(state.params))
    if state.ema is not None:
        params = params | {"params": to_host(state.ema)}
    teacher = Teacher.of(stage.model, params)
    write_teacher(folder.teacher, teacher)
    return teacher
