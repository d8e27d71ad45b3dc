"""A run that starts where another one stands: a branch of a path through sizes.

It takes over weights, gates, moments, structure, bits and the number of the step, so
that it reads on in the same rows; its config may ask for another budget, schedule or
strategy. What the other run spent is reported apart from what this one spends.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from slimjax import processes
from slimjax.data.dataset import Dataset
from slimjax.data.image_config import plain_normalize
from slimjax.data.image_table import IMAGE
from slimjax.errors import CheckpointError, ConfigError, NotFeasibleError
from slimjax.objective.latency import LATENCY
from slimjax.objective.latency_table import LatencyTable
from slimjax.objective.price import GateMoments
from slimjax.objective.size import parse_measure
from slimjax.run.blueprints import make_blueprint, make_model
from slimjax.run.feasible import check_branch_budget
from slimjax.run.latency import find_latency
from slimjax.run.newest import find_newest
from slimjax.run.older import restore_state
from slimjax.run.teaching import find_teacher
from slimjax.run.transplant import transplant
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import RunConfig, make_run_config
from slimjax.train.history import History
from slimjax.train.rounding import round_state
from slimjax.train.stage import Stage, make_stage
from slimjax.train.state import TrainState


def check_branch(run: RunConfig) -> None:
    """Refuses to start from a folder without a run.

    Raises:
        ConfigError: Naming the folder.
    """
    folder = run.train.continue_from
    if folder and not RunFolder(folder).checkpoints.list():
        raise ConfigError(
            f"config.train.continue_from={folder!r} holds no checkpoint to start from. "
            "Name the folder of a run."
        )


def blueprint_of(
    run: RunConfig,
    data: Dataset,
    manifest: dict[str, Any],
    num_seams: int,
    latency: LatencyTable | None,
) -> Blueprint:
    """Returns the blueprint that a checkpoint is of, under a config.

    Args:
        run: The config.
        data: What it learns from.
        manifest: The checkpoint's manifest.
        num_seams: Seams of the config that lie behind it.
        latency: What was measured, where latency counts.

    Raises:
        NotFeasibleError: If the data are not what they were.
    """
    if manifest["data_fingerprint"] != data.fingerprint:
        raise NotFeasibleError(
            f"The text of {run.data.source} is not what it was when this run began, or "
            "this version of slimjax reads it in another way. Restore it, or start "
            "afresh in a new --workdir."
        )
    model = make_model(run, data.outline).with_architecture(
        manifest["architecture"], "manifest.architecture"
    )
    bits = {
        tuple(key.split(".")): np.array(own, np.int32)
        for key, own in manifest["bits"].items()
    }
    sizes = _start_sizes(run, data, manifest, latency)
    return make_blueprint(
        run,
        data.outline,
        model,
        given_bits=bits if run.quantize.chooses else None,
        given_start_sizes=sizes,
        learns_bits=run.learns_bits(num_seams),
        latency=latency,
    )


def _start_sizes(
    run: RunConfig,
    data: Dataset,
    manifest: dict[str, Any],
    latency: LatencyTable | None,
) -> dict[str, float]:
    """Returns the sizes that a run started from, in the measures of its config.

    Where the run before it did not count latency, that of the config's model is taken.
    """
    known = dict(manifest["start_sizes"])
    if latency is not None and LATENCY not in known:
        start = make_blueprint(run, data.outline, latency=latency)
        known[LATENCY] = start.sizes[LATENCY]
    sums = {m: float(sum(parse_measure(m).values())) for m in run.objective.measures}
    return sums | known  # A sum's parts are all whole at the start.


def take_over(
    run: RunConfig, folder: RunFolder, data: Dataset
) -> tuple[Stage, TrainState, History]:
    """Returns stage, state and history of a run's beginning in another run's state.

    Args:
        run: The config of the run that begins.
        folder: Its folder.
        data: What it learns from.

    Raises:
        ConfigError: If that run has taken as many steps as this one is to have, or read
            the pixels of images in another scale, or if its budget cannot be met.
        CheckpointError: If no checkpoint of it is whole.
        NotFeasibleError: If it learned from other data.
    """
    old_folder = RunFolder(run.train.continue_from)
    other = make_run_config(read_json(old_folder.config), is_stored=True)
    other = dataclasses.replace(other, mesh=run.mesh)
    _check_scale(run, other, data)
    manifest, old_stage, old_state = _newest(old_folder, other, data)
    step = int(manifest["step"])
    if step >= run.train.num_steps:
        raise ConfigError(
            f"config.train.num_steps={run.train.num_steps} must be more than the "
            f"{step} steps of config.train.continue_from={str(old_folder.root)!r}."
        )
    num_seams = sum(seam < step for seam in run.seam_steps)
    latency = find_latency(run, folder, make_model(run, data.outline), None)
    blueprint = blueprint_of(run, data, manifest, num_seams, latency)
    check_branch_budget(blueprint, step, num_seams)
    stage = make_stage(blueprint, teacher=find_teacher(run, folder, data, None))
    state = round_state(stage, transplant(stage, old_stage, old_state))
    check_first_seam(run, state)
    old = History.from_dict(manifest["history"])
    targets = stage.blueprint.targets_per_step // run.data.batch_size
    targets_per_step = other.data.batch_size * targets
    history = History(
        num_seams=num_seams,
        inherited_flops=old.training_flops(targets_per_step),
        alpha=old.alpha,
        alphas=old.alphas,
    )
    return stage, stage.place(state), history


def check_first_seam(run: RunConfig, state: TrainState) -> None:
    """Refuses a seam at once that would decide by gradients not measured yet.

    Args:
        run: The config of the run that begins.
        state: Its first state.

    Raises:
        ConfigError: Naming the first seam.
    """
    step = int(state.step)
    is_moments = lambda node: isinstance(node, GateMoments)
    nodes = jax.tree.leaves(state.opt_state, is_leaf=is_moments)
    seen = [int(node.num_seen) for node in nodes if is_moments(node)]
    if step in run.seam_steps and 0 in seen:
        raise ConfigError(
            f"config.resize.first_step={run.resize.first_step} puts a seam at step "
            f"{step}, at which this run continues, and config.objective.strategy="
            f"{run.objective.strategy!r} decides by gradients of gates, which the run "
            "before has not kept. Set it some steps later."
        )


def _check_scale(run: RunConfig, other: RunConfig, data: Dataset) -> None:
    """Refuses another scale of images, whose bytes alone a fingerprint is of."""
    theirs, own = other.data.normalize, run.data.normalize
    if IMAGE in data.fields and plain_normalize(theirs) != plain_normalize(own):
        raise ConfigError(
            f"config.data.normalize={list(own)}, but the run of config.train."
            f"continue_from={run.train.continue_from!r} has {list(theirs)}. Set that."
        )


def _newest(
    folder: RunFolder, other: RunConfig, data: Dataset
) -> tuple[dict[str, Any], Stage, TrainState]:
    def read(name: str) -> tuple[dict[str, Any], Stage, TrainState]:
        with processes.together(f"the manifest of {name}"):
            manifest = folder.checkpoints.read_manifest(name)
            num_seams, digest = manifest["history"]["num_seams"], manifest.get(LATENCY)
            start = make_model(other, data.outline)
            latency = find_latency(other, folder, start, digest)
            blueprint = blueprint_of(other, data, manifest, num_seams, latency)
            teacher = find_teacher(other, folder, data, manifest.get("teacher"))
            stage = make_stage(blueprint, teacher=teacher)
        target = stage.abstract_checkpoint
        return manifest, stage, restore_state(folder.checkpoints, name, target)

    with processes.together("looking for checkpoints"):
        names = folder.checkpoints.list()
    names = processes.share("the checkpoints", names)
    newest = find_newest(names, read, lambda *_: None)
    if newest is None:
        raise CheckpointError(f"No checkpoint in {folder.root} is whole.")
    return newest[1]
