"""Beginning a run, or taking it up where its newest whole checkpoint left it."""

import dataclasses
from typing import Any

from slimjax import processes
from slimjax.data.codecs import save_codecs
from slimjax.data.dataset import Dataset
from slimjax.errors import CheckpointError, ConfigError
from slimjax.objective.latency import LATENCY
from slimjax.run.accounting import RESTART, note_return
from slimjax.run.blueprints import make_blueprint, make_model
from slimjax.run.branch import blueprint_of, take_over
from slimjax.run.environment import versions
from slimjax.run.feasible import check_budget
from slimjax.run.init_weights import describe_start, take_weights
from slimjax.run.latency import find_latency
from slimjax.run.newest import find_newest
from slimjax.run.older import restore_state
from slimjax.run.progress import Display
from slimjax.run.teaching import find_teacher
from slimjax.store.files import write_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import RunConfig
from slimjax.train.history import History, StageRecord
from slimjax.train.stage import Stage, make_stage
from slimjax.train.state import TrainState

Beginning = tuple[Stage, TrainState, History]


def begin_or_resume(
    run: RunConfig,
    folder: RunFolder,
    data: Dataset,
    display: Display,
    *,
    allow_fresh_start: bool = False,
    reason: str = RESTART,
) -> Beginning:
    """Returns stage, state and history of the newest whole checkpoint, or of step 0.

    Args:
        run: The run's config.
        folder: Where its checkpoints are.
        data: What it learns from.
        display: Where damage is reported.
        allow_fresh_start: Whether to move checkpoints aside of which none is whole,
            and to start from step 0.
        reason: Why, should the run be taken up: RESTART or ROLLBACK.

    Raises:
        UnreadableError: If one cannot be read that may be whole.
        CheckpointError: If there are checkpoints, and none is whole.
        NotFeasibleError: If the data are not what they were.
    """
    checkpoints = folder.checkpoints
    with processes.together("looking for checkpoints"):
        found = [checkpoints.list(), checkpoints.unfinished()]
    names, unfinished = processes.share("the checkpoints", found)
    for name in unfinished:
        where = checkpoints.path(name)
        display.say(f"{where} was not finished, and does not count.")

    def pass_over(name: str, error: CheckpointError) -> None:
        display.say(f"{error} Looking for an older one.")
        checkpoints.distrust(name)

    newest = find_newest(names, lambda name: _read(name, run, folder, data), pass_over)
    if newest is not None:
        name, (manifest, stage, state) = newest
        note_return(folder, manifest["step"], checkpoints.path(name), reason)
        return _go_on(manifest, stage, state, folder, display)
    names = names or unfinished[1:]  # A kill leaves one of them, and no more.
    if names and not allow_fresh_start:
        raise CheckpointError(
            f"No checkpoint in {folder.checkpoints.directory} is whole. Start afresh "
            "in a new --workdir, or here with --allow_fresh_start."
        )
    if names:
        aside = str(checkpoints.set_aside())  # All processes: they wait in it.
        aside = processes.share("the folder aside", aside)
        display.say(f"No checkpoint is whole; they are in {aside}. Starting afresh.")
    if folder.holds_run:
        note_return(folder, 0, None, reason)
    return _begin(run, folder, data, display)


def make_manifest(stage: Stage, history: History, fingerprint: str) -> dict[str, Any]:
    """Returns what a checkpoint needs beside its arrays."""
    blueprint, latency = stage.blueprint, stage.blueprint.latency
    return {
        "config": blueprint.run.as_dict(),
        "architecture": blueprint.architecture(),
        "bits": {".".join(key): own.tolist() for key, own in blueprint.bits.items()},
        "start_sizes": dict(blueprint.start_sizes),
        "data_fingerprint": fingerprint,
        "teacher": stage.teacher.digest if stage.teacher else None,
        LATENCY: latency and latency.fingerprint,
        "history": dataclasses.asdict(history),
        "versions": versions(),
    }


def record_of(blueprint: Blueprint, step: int) -> StageRecord:
    """Returns the record of a stage that begins at `step`."""
    return StageRecord(
        start_step=step,
        params=int(blueprint.sizes["params"]),
        flops_per_token=blueprint.sizes["flops"],
        bytes=int(blueprint.sizes["bytes"]),
        architecture=blueprint.architecture(),
    )


def _begin(
    run: RunConfig, folder: RunFolder, data: Dataset, display: Display
) -> Beginning:
    if run.train.continue_from:
        stage, state, history = take_over(run, folder, data)
    else:
        stage, state, history = _make_fresh(run, folder, data)
    if history.init_from:
        display.say(describe_start(history.init_from))
    history.stages.append(record_of(stage.blueprint, int(state.step)))
    write_json(folder.config, run.as_dict())
    write_json(folder.architecture, stage.blueprint.architecture())
    if stage.blueprint.latency is not None:
        write_json(folder.latency, stage.blueprint.latency.as_json())
    if processes.is_first():
        folder.tokenizer.mkdir(exist_ok=True)
        save_codecs(data.codecs, folder.tokenizer)
    folder.metrics.cut_back(-1)
    folder.seams.keep_first(0)
    return stage, state, history


def _make_fresh(run: RunConfig, folder: RunFolder, data: Dataset) -> Beginning:
    model = make_model(run, data.outline)
    latency = find_latency(run, folder, model, None)
    blueprint = make_blueprint(
        run, data.outline, model, learns_bits=run.learns_bits(0), latency=latency
    )
    if latency is not None:
        check_budget(blueprint)
    teacher = find_teacher(run, folder, data, None)
    stage = make_stage(blueprint, teacher=teacher)
    if not run.model.init_from:
        return stage, stage.fresh(), History()
    params, record = take_weights(stage, data)
    return stage, stage.start(params), History(init_from=record)


def _read(
    name: str, run: RunConfig, folder: RunFolder, data: Dataset
) -> tuple[dict[str, Any], Stage, TrainState]:
    """Returns manifest, stage and state of one checkpoint.

    Raises:
        CheckpointError: If it is not whole, or not valid.
    """
    with processes.together(f"the manifest of {name}"):
        manifest = folder.checkpoints.read_manifest(name)
        stage = _stage_of(name, manifest, run, folder, data)
    state = restore_state(folder.checkpoints, name, stage.abstract_checkpoint)
    return manifest, stage, stage.place(state)


def _stage_of(
    name: str,
    manifest: dict[str, Any],
    run: RunConfig,
    folder: RunFolder,
    data: Dataset,
) -> Stage:
    try:
        num_seams = manifest["history"]["num_seams"]
        start = make_model(run, data.outline)
        latency = find_latency(run, folder, start, manifest.get(LATENCY, ""))
        blueprint = blueprint_of(run, data, manifest, num_seams, latency)
        History.from_dict(manifest["history"])
        digest = manifest.get("teacher")
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError) as error:
        kind = type(error).__name__
        where = folder.checkpoints.directory / name
        raise CheckpointError(f"{where} has a strange manifest: {kind}.") from error
    return make_stage(blueprint, teacher=find_teacher(run, folder, data, digest))


def _go_on(
    manifest: dict[str, Any],
    stage: Stage,
    state: TrainState,
    folder: RunFolder,
    display: Display,
) -> Beginning:
    """Returns the beginning of what is left, the folder being as it was then."""
    run = stage.blueprint.run
    _cut_back_logs(folder, manifest)
    write_json(folder.config, run.as_dict())
    write_json(folder.architecture, manifest["architecture"])
    display.say(f"going on at step {manifest['step']} of {run.train.num_steps}")
    return stage, state, History.from_dict(manifest["history"])


def _cut_back_logs(folder: RunFolder, manifest: dict[str, Any]) -> None:
    """Drops the lines that the resumed run will write again."""
    folder.metrics.cut_back(manifest["step"])
    folder.seams.keep_first(manifest["seam"])
