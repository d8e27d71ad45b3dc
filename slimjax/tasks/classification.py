"""Classification: one class of C for each text, or for each row of numbers.

    tokens [T] or features [F] -> tower -> pool -> softmax over the classes

An example has a ``text`` or ``features``, and a ``label`` (``config.data.fields`` maps
these names to those of the files).
"""

from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Dataset
from slimjax.data.labelled import load_labelled_dataset
from slimjax.data.labels import Labels
from slimjax.data.schema import Schema
from slimjax.metrics import reported
from slimjax.models.head import HeadConfig, HeadSettings
from slimjax.tasks.answers import Answer, Results
from slimjax.tasks.base import (
    Batch,
    Metric,
    Readouts,
    Targets,
    Task,
    nats_per_target,
)
from slimjax.text.survey import Progress

LABEL = "label"
"""Name of the head, of the field of the right class, and of what a file calls it."""


def load(
    config: DataConfig,
    *,
    head: HeadSettings | None = None,
    codecs: Mapping[str, Any] | None = None,
    all_valid: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Returns examples of texts or of features; see `load_labelled_dataset`."""
    del head
    return load_labelled_dataset(
        config,
        schema(config),
        codecs=codecs,
        all_valid=all_valid,
        progress=progress,
    )


def schema(config: DataConfig) -> Schema:
    """Returns what is read: a text or features, and a label."""
    read = "features" if reads_features(config) else "text"
    return Schema({read: read, LABEL: LABEL})


def reads_features(config: DataConfig) -> bool:
    """Whether examples are rows of numbers, not texts."""
    sources = [config.source] if isinstance(config.source, str) else config.source
    is_image = any(source.startswith("idx:") for source in sources)
    return is_image or "features" in (config.fields or {})


def expected_outline(config: DataConfig) -> None:
    """Returns None: the classes are not known before the data are read."""
    del config


def heads(sizes: Mapping[str, int]) -> tuple[HeadConfig, ...]:
    """Returns the one head: a class for each row."""
    return (HeadConfig(LABEL, sizes["classes"], at="first", bias=True),)


METRICS = (
    *reported.CLASSES,
    Metric("nats_per_example", "nats per example", "low", nats_per_target),
)


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task; with text, padding is no part of what is read."""

    def inputs(batch: Batch, _: Any) -> dict[str, Array]:
        if "features" in batch:
            return {"features": batch["features"]}
        tokens = batch["tokens"]
        is_text = (tokens != special["pad"]).astype(jnp.int32)
        return {"tokens": tokens, "tokens_segments": is_text}

    def targets(batch: Batch, _: Any) -> dict[str, Targets]:
        label = batch[LABEL]  # Below 0 in rows that only fill up a batch.
        weight = (label >= 0).astype(jnp.float32)
        return {LABEL: Targets(jnp.maximum(label, 0), weight)}

    return Task(
        name="classification",
        heads=heads,
        inputs=inputs,
        targets=targets,
        metrics=METRICS,
        outputs=outputs,
        predict=predict,
        answer=answer,
    )


def outputs(readouts: Readouts, batch: Batch) -> dict[str, Array]:
    """Returns the right class of each row, and what is predicted (see `predict`)."""
    return {LABEL: batch[LABEL], **predict(readouts, batch)}


def predict(readouts: Readouts, batch: Batch) -> dict[str, Array]:
    """Returns the predicted class of each row and the probability of every class."""
    del batch
    logits = readouts[LABEL].logits()
    best = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    return {"prediction": best, "scores": jax.nn.softmax(logits, axis=-1)}


def answer(results: Results) -> list[Answer]:
    """Returns ``prediction``, a label, and ``scores``, ``{label: probability}``."""
    names = cast(Labels, results.codecs[LABEL]).names
    best, scores = results.kept["prediction"].tolist(), results.kept["scores"].tolist()
    return [
        {"prediction": names[i], "scores": dict(zip(names, row, strict=True))}
        for i, row in zip(best, scores, strict=True)
    ]
