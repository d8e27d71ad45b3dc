"""Shape and weights in a run folder: of the finished model, or a checkpoint."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from slimjax import tasks
from slimjax.config import build
from slimjax.data.codecs import Codecs, sizes_of, special_of
from slimjax.data.domains import names_of
from slimjax.errors import CheckpointError, ConfigError, UnreadableError
from slimjax.models.build import build_model
from slimjax.models.config import ModelConfig, ModelSettings
from slimjax.nn.quantize import quantize
from slimjax.store.files import read_json
from slimjax.store.packed import read_packed
from slimjax.store.run_folder import RunFolder
from slimjax.store.weights import StoredModel
from slimjax.tasks.base import DEFAULT_TASK
from slimjax.trees import axis_names, flatten

COMPUTE = ("dtype", "attention_impl", "remat", "scan_layers", "dropout", "adapter_skip")
"""How a model is computed, which a user may change after it was written."""


def finished_weights(folder: RunFolder, model: ModelConfig) -> tuple[PyTree, Path]:
    """Returns the weights of a finished run or an imported model, and their file.

    Args:
        folder: The run folder.
        model: The model that the files beside the weights describe.

    Raises:
        CheckpointError: If the weights are damaged, or were written for another model.
    """
    if folder.packed.is_file() or not folder.weights.is_file():
        return read_packed(folder.packed), folder.packed
    stored = StoredModel.read(folder.weights)
    _check_same(model, stored.model, folder)
    return stored.variables["params"], folder.weights


def _check_same(model: ModelConfig, written: ModelConfig, folder: RunFolder) -> None:
    """Refuses settings that have changed since the weights were written."""
    own = {name: getattr(model, name) for name in COMPUTE}
    written = dataclasses.replace(written, **own)
    for name, found, expected in _differences("model", model, written):
        raise CheckpointError(
            f"{folder.root} is damaged: config.json and architecture.json say "
            f"{name}={found!r:.60}, but {folder.weights.name} was written with "
            f"{expected!r:.60}. Import the model again."
        )


def _differences(name: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yields name and values of each field in which two things, or parts, differ."""
    if one == other:
        return
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        for pair in zip(one, other, strict=True):
            yield from _differences(name, *pair)
    elif dataclasses.is_dataclass(one) and type(one) is type(other):
        for field in dataclasses.fields(one):
            pair = getattr(one, field.name), getattr(other, field.name)
            yield from _differences(field.name, *pair)
    else:
        yield name, one, other


def read_model_config(folder: RunFolder, codecs: Codecs) -> ModelConfig:
    """Returns the shape that a run's model has now.

    Raises:
        CheckpointError: If the files that describe it are missing or damaged.
    """
    where = str(folder.architecture)
    try:
        config = read_json(folder.config, dict)
        block, data = config.get("model", {}), config.get("data", {})
        if not isinstance(block, dict) or not isinstance(data, dict):
            raise ConfigError("config.model is not a block of settings.")
        settings = build(ModelSettings, block | {"architecture": ""}, "config.model")
        task = tasks.get(config.get("task", DEFAULT_TASK)).make_task(special_of(codecs))
        sizes, lengths = sizes_of(codecs), tasks.lengths(task.name, data)
        own = sizes, task.heads(sizes), lengths, names_of(codecs)
        model = build_model(settings, *own)
        return model.with_architecture(read_json(folder.architecture), where)
    except ConfigError as error:
        raise CheckpointError(f"{folder.root} is damaged: {error}") from error


def newest_checkpoint(
    folder: RunFolder, config: ModelConfig
) -> tuple[ModelConfig, PyTree]:
    """Returns shape and variables of the newest checkpoint that can be read."""
    checkpoints, reason = folder.checkpoints, "there is none yet"
    for name in reversed(checkpoints.list()):
        try:
            manifest = checkpoints.read_manifest(name)
            shape = config.with_architecture(manifest["architecture"], name)
            params = checkpoints.restore_part(name, "params")
            variables = {kind: params[kind] for kind in ("params", "gates")}
            precision = checkpoints.restore_part(name, "precision")
            if precision:
                group_size = manifest["config"]["quantize"]["group_size"]
                variables = _rounded(shape, variables, precision, group_size)
            return shape, variables
        except UnreadableError:  # It may be whole: no older one stands in for it.
            raise
        except (CheckpointError, ConfigError) as error:
            reason = str(error)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            reason = f"{name} has a strange manifest: {type(error).__name__}"
    raise CheckpointError(f"No whole checkpoint in {folder.root}: {reason}.")


def _rounded(
    config: ModelConfig, variables: PyTree, precision: PyTree, group_size: int
) -> PyTree:
    """Returns variables whose weights have the bits that training gave them."""
    names = axis_names(config.abstract_variables())["params"]
    weights = quantize(variables["params"], names, precision, group_size)
    return {**variables, "params": weights}


def check_shapes(weights: PyTree, expected: PyTree, path: Path) -> None:
    """Raises `CheckpointError` if weights of a file are not those that are expected."""
    found = {name: leaf.shape for name, leaf in flatten(weights).items()}
    wanted = {name: leaf.shape for name, leaf in flatten(expected).items()}
    if found != wanted:
        odd = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
        raise CheckpointError(
            f"{path}: {'.'.join(odd[0])} does not fit architecture.json."
        )
