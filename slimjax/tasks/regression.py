"""Regression: a number for each text, such as how good a review finds a film.

    tokens [T] or features [F] -> tower -> pool -> one number

An example has a ``text`` (and maybe a ``text_pair``) or ``features``, and a ``value``.
The model answers in standard deviations from the mean, both of the training values. So
Error is ``-log p`` of a normal distribution with the variance of the training values,
in nats; its density is per standard deviation, so that it does not depend on the unit.
Answering the mean costs 1.42 nats on the training values.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from slimjax.data.columns import unit_name
from slimjax.data.config import DataConfig
from slimjax.data.schema import Schema
from slimjax.data.values import VALUE, ValueScale
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
from slimjax.tasks.inputs import input_kinds, read_row
from slimjax.tasks.labelled import expected_outline as expected_outline
from slimjax.tasks.labelled import make_load
from slimjax.text.examples import Example

METRICS = (
    *reported.VALUES,
    Metric("nats_per_example", "nats per example", "low", nats_per_target),
)


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: texts or features, and a value."""
    del head
    return Schema({**input_kinds(config), VALUE: "value"})


load = make_load(schema)


def heads(sizes: Mapping[str, int]) -> tuple[HeadConfig, ...]:
    """Returns the one head: a number for each row, of variance 1."""
    del sizes
    return (HeadConfig(VALUE, 1, at="first", loss="gaussian", bias=True),)


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task; padding is no part of what is read."""

    def inputs(batch: Batch, _: Any) -> dict[str, Array]:
        return read_row(batch, special)

    return Task(
        name="regression",
        heads=heads,
        inputs=inputs,
        targets=targets,
        metrics=METRICS,
        outputs=outputs,
        predict=predict,
        answer=answer,
        score=score,
    )


def targets(batch: Batch, _: Any) -> dict[str, Targets]:
    """Returns the values in deviations; nan is no target."""
    value, unit = batch[VALUE], batch[unit_name(VALUE)]
    is_target = jnp.isfinite(value)
    number = (value - unit[:, 0]) / unit[:, 1]
    own = jnp.where(is_target, number, 0.0)
    return {VALUE: Targets(own, is_target.astype(jnp.float32))}


def outputs(readouts: Readouts, batch: Batch) -> dict[str, Array]:
    """Returns the value of each row and the predicted one, as the batch has them.

    A batch of a dataset has distances from the mean, so metrics that ignore a shift of
    both are those of the files.
    """
    unit = batch[unit_name(VALUE)]
    number = predict(readouts, batch)["number"]
    return {"prediction": unit[:, 0] + unit[:, 1] * number, VALUE: batch[VALUE]}


def predict(readouts: Readouts, batch: Batch) -> dict[str, Array]:
    """Returns the number of each row, in deviations from the mean."""
    del batch
    return {"number": readouts[VALUE].logits()[:, 0]}


def answer(results: Results) -> list[Answer]:
    """Returns ``prediction``, a number in the unit of the files."""
    scale = cast(ValueScale, results.codecs[VALUE])
    return [{"prediction": scale.decode(n)} for n in results.kept["number"].tolist()]


def score(
    answers: Sequence[Answer], examples: Sequence[Example]
) -> dict[str, np.ndarray]:
    """Returns the numbers of the answers and the right ones, in float64.

    So metrics are those of the written answers; on the way they are those of `outputs`.
    """
    return {
        "prediction": np.array([said["prediction"] for said in answers], np.float64),
        VALUE: np.array([example.values[VALUE] for example in examples], np.float64),
    }
