"""What a task is: how a batch is read, what is to be answered, and how it is measured.

A task is one file of this room. It has ``load(config, head=..., ...)``, which returns a
`slimjax.data.Dataset`; ``expected_outline(config)``, which returns what is known of the
data before they are read; and ``make_task(special)``, which returns a `Task`. If it
answers, it also has ``schema(config, head)``, which returns the
`slimjax.data.schema.Schema` of its examples; `slimjax.tasks.labelled` makes a ``load``
of it. The name of the file is the value of ``config.task``. How a task
answers is described in `slimjax.tasks.answers`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from slimjax.metrics.bootstrap import Columns
from slimjax.metrics.extra import is_known
from slimjax.metrics.metric import Metric
from slimjax.models.head import HeadConfig, HeadSettings
from slimjax.nn.readout import Readout
from slimjax.tasks.answers import AnswerFn, ScoreFn, TablesFn
from slimjax.text.examples import Example

DEFAULT_TASK = "lm"
"""The task of a config that names none."""

Batch = Mapping[str, Array]
"""Arrays by the names of a dataset's fields, rows first."""

Readouts = Mapping[str, Readout]
"""What a model says, by the names of its heads."""


class Targets(NamedTuple):
    """What a head is to answer.

    Attributes:
        values: Numbers of classes, int ``[*batch]``; yes or no for each, float in
            [0, 1], ``[*batch C]``; or numbers, float ``[*batch]``.
        weight: 1 for a target, 0 for padding, ``[*batch]``.
        is_open: Of a choice among positions: which may be chosen, ``[B T]``.
        mixed: Of a row that is mixed with another one: the class of that, ``[B]``, and
            the share of its own, ``[B]``.
    """

    values: Array
    weight: Float[Array, "*batch"]
    is_open: Array | None = None
    mixed: tuple[Array, Float[Array, " B"]] | None = None


@dataclasses.dataclass(frozen=True)
class Task:
    """What Error means on one kind of data.

    Attributes:
        name: The value of ``config.task``.
        heads: From the dataset's sizes to the heads that a model needs.
        inputs: From a batch, and a key or None, to what the model reads.
        targets: From a batch, and a key or None, to the targets of each head. The key
            is the one that `inputs` gets.
        metrics: What is reported, the headline first. Those whose library is missing
            are left out.
        outputs: From readouts and a batch to what is kept of each row beside its loss,
            arrays ``[B ...]``.
        predict: From readouts and a batch without targets to what is kept of each row
            for its answer, arrays ``[B ...]``. None if the task does not answer, or if
            it answers by decoding.
        answer: From the rows of some examples to one answer per example; None if the
            task does not answer.
        formats: How answers may be written: jsonl, text, conll or squad.
        score: From answers and examples with targets to columns by example that add
            up, for metrics `from_answers`, or in place of columns of `outputs`. None
            if no metric needs answers.
        by_class: From answers and examples with targets to what is counted of each
            class, as plain data; None for a task without classes.
        fit: From the block ``config.head`` to the task that it asks for; None where
            that changes nothing.
        describe: From examples with targets to how answers to them are measured, such
            as the signature of BLEU; None if there is no choice.
        share: From a batch of training to one in which what rows have in common, such
            as an image, stands once; None where they have nothing.
        is_random: Whether `inputs` or `targets` draw from their key.
        generates: Whether the model goes on writing after a prompt.
        passes: How often a row goes through the model: twice, where it has two texts.
        among: From candidate texts and their vectors to what answers by ranking them;
            None if the task ranks nothing.
        target: What a target is called, such as ``token``.
        target_at: Where the loss of a token stands, for rows that are a stream of
            documents: 0 at its own position, -1 at the one before. Then each document
            has an error. None where losses are kept by row.
        hides_future: Whether the target of a position stands in its row, right after
            it, so that no position may see those that follow.
        fills_gaps: Whether targets stand in the middle of what is read, so that a
            position must see what follows it.
    """

    name: str
    heads: Callable[[Mapping[str, int]], tuple[HeadConfig, ...]]
    inputs: Callable[[Batch, Array | None], dict[str, Array]]
    targets: Callable[[Batch, Array | None], dict[str, Targets]]
    metrics: tuple[Metric, ...]
    outputs: Callable[[Readouts, Batch], dict[str, Array]] = lambda *_: {}
    predict: Callable[[Readouts, Batch], dict[str, Array]] | None = None
    answer: AnswerFn | None = None
    formats: tuple[str, ...] = ("jsonl", "text")
    score: ScoreFn | None = None
    by_class: TablesFn | None = None
    describe: Callable[[Sequence[Example]], dict[str, str]] | None = None
    fit: "Callable[[HeadSettings], Task] | None" = None
    share: Callable[[Batch], Batch] | None = None
    is_random: bool = False
    generates: bool = False
    passes: int = 1
    among: "Callable[[Sequence[str], np.ndarray], AnswerFn] | None" = None
    target: str = "target"
    target_at: int | None = None
    hides_future: bool = False
    fills_gaps: bool = False

    @property
    def headline(self) -> Metric:
        """The metric by which runs are ranked: the first whose library is there."""
        known = (metric for metric in self.metrics if is_known(metric.key))
        return next(known, self.metrics[0])


def nats_per_target(columns: Columns) -> np.ndarray:
    """Returns the mean loss of all targets; NaN where there are none.

    Examples:
        >>> rows = {"nats": np.array([2.0, 4.0]), "targets": np.array([1.0, 3.0])}
        >>> float(nats_per_target(rows))
        1.5
    """
    return ratio(columns["nats"], columns["targets"])


def perplexity(columns: Columns) -> np.ndarray:
    """Returns e to the power of the nats per target: between how many a model doubts.

    Examples:
        >>> rows = {"nats": np.array([np.log(4.0) * 3]), "targets": np.array([3])}
        >>> round(float(perplexity(rows)), 6)
        4.0
    """
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(nats_per_target(columns)))


def ratio(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Returns the sum of parts by the sum of wholes, over the last axis, in float64."""
    part = np.sum(parts, axis=-1, dtype=np.float64)
    whole = np.sum(wholes, axis=-1, dtype=np.float64)
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
