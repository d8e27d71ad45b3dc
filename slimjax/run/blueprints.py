"""From a config and an outline of the data to a blueprint."""

from typing import Any

from slimjax import tasks
from slimjax.data.dataset import Outline
from slimjax.errors import ConfigError
from slimjax.models.build import build_model
from slimjax.models.config import ModelConfig
from slimjax.tasks.base import Task
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import RunConfig


def make_task(run: RunConfig, outline: Outline) -> Task:
    """Returns the task of a run, for data with these special ids."""
    return tasks.get(run.task).make_task(outline.special)


def make_model(run: RunConfig, outline: Outline) -> ModelConfig:
    """Returns the model that a run starts from.

    Raises:
        ConfigError: If the architecture file cannot be read or holds no model.
    """
    heads = tasks.get(run.task).make_task(outline.special).heads(outline.sizes)
    return build_model(run.model, outline.sizes, heads, outline.lengths)


def make_blueprint(
    run: RunConfig,
    outline: Outline,
    model: ModelConfig | None = None,
    **options: Any,
) -> Blueprint:
    """Returns the blueprint of a run's start, or of another model under its config.

    Args:
        run: The config.
        outline: What the model must know of the data.
        model: The model; by default the one that the run starts from.
        **options: See `Blueprint`.
    """
    model = model or make_model(run, outline)
    return Blueprint(run, make_task(run, outline), model, outline, **options)


def expected_outline(run: RunConfig) -> Outline | None:
    """Returns what is known of the data before they are read; None if too little."""
    return tasks.get(run.task).expected_outline(run.data)


def expected_blueprint(
    run: RunConfig, model: ModelConfig | None = None, **options: Any
) -> Blueprint:
    """Returns the blueprint of a run whose data have not been read yet.

    Raises:
        ConfigError: If the task must read its data to know the sizes of the model.
    """
    outline = expected_outline(run)
    if outline is None:
        raise ConfigError(
            f"config.task={run.task!r} must read its data to know the model's sizes, "
            "and this command reads none. Take config.task='lm'."
        )
    return make_blueprint(run, outline, model, **options)
