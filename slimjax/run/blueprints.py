"""From a config and an outline of the data to a blueprint."""

import dataclasses
from typing import Any

from slimjax import tasks
from slimjax.data.dataset import Outline
from slimjax.data.domains import names_of
from slimjax.data.labels import Labels
from slimjax.errors import ConfigError, suggest
from slimjax.models.adapters import DOMAIN
from slimjax.models.architecture import read_architecture
from slimjax.models.build import build_model
from slimjax.models.config import ModelConfig, ModelSettings
from slimjax.models.head import HeadConfig
from slimjax.run.augmented import check_augment, check_together
from slimjax.tasks.base import Task
from slimjax.tasks.inputs import with_domains
from slimjax.tasks.pixels import IMAGE, with_pixels
from slimjax.tasks.spelling import with_bytes
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import RunConfig

READS = {
    "decoder": ("tokens",),
    "encoder": ("tokens",),
    "encoder_decoder": ("tokens", "source"),
    "fusion": ("tokens",),
    "mlp": ("features",),
}
"""Fields of a batch that each kind of model reads."""


def fields_read(settings: ModelSettings) -> tuple[str, ...]:
    """Returns the fields of a batch that a model must find."""
    if not settings.reads_images:
        return READS[settings.kind]
    is_text_read = settings.kind == "fusion" and settings.inputs != "image"
    writes = settings.kind == "encoder_decoder"
    return (IMAGE, "tokens") if is_text_read or writes else (IMAGE,)


def make_task(run: RunConfig, outline: Outline) -> Task:
    """Returns the task of a run, for data with these special ids."""
    task = tasks.get(run.task).make_task(outline.special)
    task = task if task.fit is None else task.fit(run.head)
    task = with_domains(task) if DOMAIN in outline.fields else task
    if IMAGE not in outline.fields:
        return task
    data = run.data
    return with_pixels(task, data.normalize, run.augment, data.rows_per_image)


def make_model(run: RunConfig, outline: Outline) -> ModelConfig:
    """Returns the model that a run starts from.

    Raises:
        ConfigError: If the model does not fit the task or the data, or if the
            architecture file cannot be read or holds no model.
    """
    check_fields(run, outline)
    check_augment(run, outline)
    check_together(run)
    task = make_task(run, outline)
    heads = tuple(_weigh(head, run, outline) for head in task.heads(outline.sizes))
    options = outline.sizes, heads, outline.lengths, _domains(run, outline)
    _check_smoothing(run, heads)
    _check_report(run, task)
    model = build_model(run.model, *options)
    if task.hides_future and model.main.sees_all:
        raise ConfigError(
            f"config.task={run.task!r} predicts what comes next, and this model "
            "already sees it. Set config.model.kind='decoder' and "
            "config.model.sees='past'."
        )
    if task.fills_gaps and not model.main.sees_all:
        raise ConfigError(
            f"config.task={run.task!r} fills gaps in a text, and this model does not "
            "see what follows them. Set config.model.kind='encoder'."
        )
    if task.is_random and run.distill.keeps_outcomes:
        raise ConfigError(
            f"config.distill.top_k={run.distill.top_k} keeps what a teacher says of "
            f"rows, which config.task={run.task!r} changes in each step. Set "
            "config.distill.top_k=0."
        )
    return model


def _check_smoothing(run: RunConfig, heads: tuple[HeadConfig, ...]) -> None:
    """Refuses settings of the loss that none of the heads has.

    Raises:
        ConfigError: Naming the setting.
    """
    if any(head.loss == "classes" for head in heads):
        return
    for name in ("label_smoothing", "z_loss"):
        if getattr(run.train, name):
            raise ConfigError(
                f"config.train.{name}={getattr(run.train, name)} is for targets of one "
                f"class among several; config.task={run.task!r} has none here. Set it "
                "to 0."
            )


def _check_report(run: RunConfig, task: Task) -> None:
    """Refuses the description length of what no model predicts as a whole.

    Raises:
        ConfigError: If the task does not predict each token of a text.
    """
    if run.objective.report_in != "bits":
        return
    if not task.generates or task.target_at is None:
        raise ConfigError(
            "config.objective.report_in='bits' is for texts that a language model "
            f"reads, config.task='lm', not for config.task={run.task!r}. Set it to "
            "'nats'."
        )


def _domains(run: RunConfig, outline: Outline) -> tuple[str, ...]:
    """Returns the names of the domains that rows are of.

    Raises:
        ConfigError: If adapters are asked for, and rows have no domain.
    """
    names = names_of(outline.codecs)
    if run.model.adapters and not names:
        raise ConfigError(
            f"config.model.adapters={run.model.adapters} is for data of several "
            f"domains, and there are none. Set config.data.domains, or leave it out."
        )
    return names


def _weigh(head: HeadConfig, run: RunConfig, outline: Outline) -> HeadConfig:
    """Returns a head with the weights of its classes, as the config has them.

    Raises:
        ConfigError: If it has no classes, or other ones.
    """
    settings, labels = run.head, outline.codecs.get(head.name)
    head = dataclasses.replace(head, temperature=settings.temperature)
    if not settings.class_weights and not settings.focal_gamma:
        return head
    if not isinstance(labels, Labels):
        name = "class_weights" if settings.class_weights else "focal_gamma"
        raise ConfigError(
            f"config.head.{name}={getattr(settings, name)!r} is for classes; "
            f"config.task={run.task!r} has none. Leave it out."
        )
    weights: list[float] = []
    if settings.class_weights:
        weights = labels.weigh(settings.class_weights, "config.head.class_weights")
    gamma = settings.focal_gamma
    return dataclasses.replace(head, weights=tuple(weights), focal_gamma=gamma)


def check_fields(run: RunConfig, outline: Outline) -> None:
    """Raises `ConfigError` if the data lack what the kind of model reads."""
    kind = run.model.kind
    known = {*outline.fields, *outline.lengths}  # Some are made of others.
    known |= {"features"} if IMAGE in known else set()
    reads = fields_read(run.model)
    missing = [name for name in reads if name not in known]
    if IMAGE in missing:
        raise ConfigError(
            f"config.model.stem={run.model.stem!r} reads pictures; the data of "
            f"config.task={run.task!r} have none. Set config.model.stem=''."
        )
    may_ignore = run.model.kind == "mlp" or run.model.inputs != "both"
    fitting = f"Set {_kind_of_images(run, outline)}." if IMAGE in known else ""
    if IMAGE in known and IMAGE not in reads and not may_ignore:
        raise ConfigError(
            f"config.model.kind={kind!r} with config.model.stem={run.model.stem!r} "
            f"does not read the pictures of config.task={run.task!r}. {fitting}"
        )
    leaves_text = "tokens" not in reads and run.model.inputs == "both"
    if {IMAGE, "tokens"} <= known and leaves_text:
        raise ConfigError(
            f"config.model.kind={kind!r} does not read the texts of config.task="
            f"{run.task!r}. {fitting}"
        )
    if missing:
        fit = [k for k, names in READS.items() if set(names) <= known]
        raise ConfigError(
            f"config.model.kind={kind!r} reads {' and '.join(reads)}; the data "
            f"of config.task={run.task!r} have no {missing[0]}. {suggest('', fit)}"
        )
    if "source" in known and "source" not in READS[kind] and not may_ignore:
        raise ConfigError(
            f"config.model.kind={kind!r} does not read the source of config.task="
            f"{run.task!r}. Set config.model.kind='encoder_decoder'."
        )


def _kind_of_images(run: RunConfig, outline: Outline) -> str:
    """Returns the settings of a model that reads all that a task of images has."""
    kind, more = "encoder", ""
    if make_task(run, outline).generates:
        kind = "encoder_decoder"
    elif "tokens" in outline.fields:
        kind = "fusion"
        more = ", and config.model.inputs='image' where texts are not to be read"
    return f"config.model.kind={kind!r} and config.model.stem='convolution'{more}"


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
    if run.distill.is_together:
        options["peer"] = _make_peer(run, make_model(run, outline))
    model = model or make_model(run, outline)
    task = with_bytes(make_task(run, outline), model, outline.codecs)
    return Blueprint(run, task, model, outline, **options)


def _make_peer(run: RunConfig, start: ModelConfig) -> ModelConfig:
    """Returns the model that learns together with the one that a run starts from.

    Raises:
        ConfigError: If its architecture is none.
    """
    entries, where = run.distill.architecture, "config.distill.architecture"
    if not entries:
        return start
    if isinstance(entries, str):
        where, entries = entries, read_architecture(entries, where)
    return start.with_architecture(entries, where)


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
