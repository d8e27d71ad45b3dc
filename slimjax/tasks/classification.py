"""Classification: one class of C for each text, or for each row of numbers.

    tokens [T] or features [F] -> tower -> pool -> softmax over the classes

An example has a ``text``, and maybe a ``text_pair``, or ``features``; and a ``label``
(``config.data.fields`` maps these names to those of the files). With
``config.head.multi_label`` the label is a list, and each class is answered by itself.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array

from slimjax.data.config import DataConfig
from slimjax.data.labels import Labels
from slimjax.data.schema import Schema
from slimjax.metrics import by_class, reported
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
from slimjax.tasks.inputs import input_kinds, read_row
from slimjax.tasks.labelled import expected_outline as expected_outline
from slimjax.tasks.labelled import make_load
from slimjax.text.examples import Example

InputsFn = Callable[[Batch, Array | None], dict[str, Array]]

LABEL = "label"
"""Name of the head, of the field of the right class, and of what a file calls it."""


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: texts or features, and a label or a list of them."""
    is_many = head is not None and head.multi_label
    return Schema({**input_kinds(config), LABEL: "labels" if is_many else "label"})


load = make_load(schema)


def heads(sizes: Mapping[str, int], name: str = LABEL) -> tuple[HeadConfig, ...]:
    """Returns the one head: a class for each row, or yes or no for each class."""
    if "labels" in sizes:
        many = sizes["labels"]
        return (HeadConfig(name, many, at="first", loss="binary", bias=True),)
    return (HeadConfig(name, sizes["classes"], at="first", bias=True),)


METRICS = (
    *reported.CLASSES,
    Metric("nats_per_example", "nats per example", "low", nats_per_target),
)
METRICS_OF_MANY = (
    *reported.ANSWERS,
    Metric("nats_per_example", "nats per example", "low", nats_per_target),
)


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task; with text, padding is no part of what is read."""

    def inputs(batch: Batch, _: Any) -> dict[str, Array]:
        return read_row(batch, special)

    return make_choice("classification", inputs)


def make_choice(name: str, inputs: InputsFn, target: str = LABEL) -> Task:
    """Returns a task that answers with one class, or with several.

    Args:
        name: The task's name.
        inputs: From a batch and a key to what the model reads.
        target: Name of the head, of the field of the right class, and of its labels.
    """
    own = dict(name=target)
    task = Task(
        name=name,
        heads=partial(heads, **own),
        inputs=inputs,
        targets=partial(targets, **own),
        metrics=METRICS,
        outputs=partial(outputs, **own),
        predict=partial(predict, **own),
        answer=partial(answer, **own),
        by_class=partial(count_classes, **own),
    )

    def fit(head: HeadSettings) -> Task:
        own = METRICS_OF_MANY if head.multi_label else METRICS
        return dataclasses.replace(task, metrics=own)

    return dataclasses.replace(task, fit=fit)


def targets(batch: Batch, _: Any, name: str = LABEL) -> dict[str, Targets]:
    """Returns the classes; below 0 in rows that only fill up a batch."""
    label = batch[name]
    is_target = label >= 0 if label.ndim == 1 else label[:, 0] >= 0
    return {name: Targets(jnp.maximum(label, 0), is_target.astype(jnp.float32))}


def outputs(readouts: Readouts, batch: Batch, name: str = LABEL) -> dict[str, Array]:
    """Returns the right class of each row, the predicted one, and all probabilities.

    Where a row may have many classes, the columns are ``labels`` and ``predictions``,
    and each class has a probability of its own.
    """
    logits, label = readouts[name].logits(), batch[name]
    if label.ndim == 2:
        each = jax.nn.sigmoid(logits)
        found, labels = (x.astype(jnp.int32) for x in (each > 0.5, label))
        return {"predictions": found, "labels": labels, "scores": each}
    return {
        "prediction": jnp.argmax(logits, axis=-1).astype(jnp.int32),
        "scores": jax.nn.softmax(logits, axis=-1),
        LABEL: label,
    }


def predict(readouts: Readouts, batch: Batch, name: str = LABEL) -> dict[str, Array]:
    """Returns the predicted class of each row, and probabilities of every class.

    ``scores`` is of one class among all, ``each`` of every class by itself.
    """
    del batch
    logits = readouts[name].logits()
    return {
        "prediction": jnp.argmax(logits, axis=-1).astype(jnp.int32),
        "scores": jax.nn.softmax(logits, axis=-1),
        "each": jax.nn.sigmoid(logits),
    }


def answer(results: Results, name: str = LABEL) -> list[Answer]:
    """Returns ``prediction``, a label, and ``scores``, ``{label: probability}``.

    Where an example may have many labels, ``prediction`` is the list of those that are
    more probable than not.
    """
    labels, kept = cast(Labels, results.codecs[name]), results.kept
    names = labels.names
    if labels.is_many:
        return [
            {
                "prediction": [n for n, p in zip(names, row, strict=True) if p > 0.5],
                "scores": dict(zip(names, row, strict=True)),
            }
            for row in kept["each"].tolist()
        ]
    best, scores = kept["prediction"].tolist(), kept["scores"].tolist()
    return [
        {"prediction": names[i], "scores": dict(zip(names, row, strict=True))}
        for i, row in zip(best, scores, strict=True)
    ]


def count_classes(
    answers: Sequence[Answer],
    examples: Sequence[Example],
    seed: int,
    name: str = LABEL,
) -> dict[str, Any]:
    """Returns precision, recall and F1 of each class, and which is taken for which."""
    names = list(answers[0]["scores"])
    right = [example.values[name] for example in examples]
    found = [said["prediction"] for said in answers]
    is_many = isinstance(found[0], list)
    count = by_class.count_several if is_many else by_class.count_one
    return count(names, right, found, seed=seed)
