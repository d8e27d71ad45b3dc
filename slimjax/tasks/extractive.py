"""Extractive summaries: which sentences of a document say what it says.

    sentences [T] -> tower -> at the beginning of each, yes or no

An example has a ``document`` or ``sentences``, and a ``summary`` or ``labels``. Targets
are sentences; of a summary they are those that share most with it. The most probable
ones are chosen: ``config.head.num_sentences`` of them, or as many as
``config.head.max_words`` allows.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from slimjax.data.config import DataConfig
from slimjax.data.schema import Schema
from slimjax.data.sentence_columns import (
    CHOSEN,
    SENTENCES,
    check_sentences,
    choices_of,
    choose_sentence_kinds,
    count_words,
    join_sentences,
    prepare_sentences,
    sentences_of,
)
from slimjax.metrics import reported
from slimjax.metrics.extra import is_known
from slimjax.metrics.texts import score_rouge
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
from slimjax.tasks.inputs import read_row
from slimjax.tasks.labelled import expected_outline as expected_outline
from slimjax.tasks.labelled import make_load
from slimjax.text.examples import Example

METRICS = (
    *reported.SUMMARIES,
    *reported.SENTENCES,
    Metric("nats_per_sentence", "nats per sentence", "low", nats_per_target),
)


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: a document or sentences, and a summary or labels."""
    head = head or HeadSettings()
    prepare = functools.partial(
        prepare_sentences, num_sentences=head.num_sentences, max_words=head.max_words
    )
    return Schema(choose_sentence_kinds(config.fields), prepare, check_sentences)


load = make_load(schema)


def heads(sizes: Mapping[str, int]) -> tuple[HeadConfig, ...]:
    """Returns the one head: yes or no at each position."""
    del sizes
    return (HeadConfig(CHOSEN, 1, loss="binary", bias=True),)


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task; padding is no part of what is read."""

    def inputs(batch: Batch, _: Any) -> dict[str, Array]:
        own = read_row(batch, special)
        return {name: own[name] for name in ("tokens", "tokens_segments")}

    def fit(head: HeadSettings) -> Task:
        return Task(
            name="extractive",
            heads=heads,
            inputs=inputs,
            targets=targets,
            metrics=METRICS,
            predict=predict,
            answer=functools.partial(answer, head=head),
            score=functools.partial(score, head=head),
            fit=fit,
            target="sentence",
        )

    return fit(HeadSettings())


def targets(batch: Batch, _: Any) -> dict[str, Targets]:
    """Returns yes or no at the beginnings of sentences; others are no targets."""
    chosen = batch[CHOSEN]
    values = jnp.maximum(chosen, 0)[..., None].astype(jnp.float32)
    return {CHOSEN: Targets(values, (chosen >= 0).astype(jnp.float32))}


def predict(readouts: Readouts, batch: Batch) -> dict[str, Array]:
    """Returns the probability of yes at each position."""
    del batch
    return {CHOSEN: jax.nn.sigmoid(readouts[CHOSEN].logits()[..., 0])}


def answer(results: Results, head: HeadSettings) -> list[Answer]:
    """Returns ``chosen``, numbers of sentences, and ``prediction``, what they say.

    ``scores`` are the probabilities of all sentences.
    """
    numbers, found = results.rows[SENTENCES], results.kept[CHOSEN]
    answers = []
    for i, example in enumerate(results.examples):
        sentences, rows = sentences_of(example), results.rows_of(i)
        scores, here = np.zeros(len(sentences)), numbers[rows] >= 0
        scores[numbers[rows][here]] = found[rows][here]
        chosen = choose(scores, sentences, head.num_sentences, head.max_words)
        said = join_sentences([sentences[k] for k in chosen])
        answers.append(
            {"prediction": said, "chosen": chosen, "scores": scores.tolist()}
        )
    return answers


def choose(
    scores: Float[np.ndarray, " S"],
    sentences: Sequence[str],
    num_sentences: int,
    max_words: int = 0,
) -> list[int]:
    """Returns the most probable sentences, in their order; one at least.

    Args:
        scores: How probable each is.
        sentences: The sentences.
        num_sentences: Most of them; 0 for no limit.
        max_words: Most words of all; a sentence that does not fit is passed over. 0 for
            no limit.

    Examples:
        >>> choose(np.array([0.1, 0.9, 0.5]), ["a", "b c d", "e"], 2)
        [1, 2]
        >>> choose(np.array([0.1, 0.9, 0.5]), ["a", "b c d", "e"], 0, 2)
        [0, 2]
    """
    chosen: list[int] = []
    left = max_words
    for number in map(int, np.argsort(-scores, kind="stable")):
        size = count_words(sentences[number])
        if max_words and size > left:
            continue
        chosen.append(number)
        left -= size
        if len(chosen) == num_sentences:
            break
    return sorted(chosen) or [int(np.argmax(scores))]


def score(
    answers: Sequence[Answer], examples: Sequence[Example], head: HeadSettings
) -> dict[str, np.ndarray]:
    """Returns counts of chosen and right sentences, and ROUGE beside the summaries.

    Without summaries, the right sentences stand for them.
    """
    counts, right = [], []
    for said, example in zip(answers, examples, strict=True):
        marks = choices_of(example, head.num_sentences, head.max_words)
        gold = {i for i, mark in enumerate(marks) if mark}
        counts.append((len(gold & {*said["chosen"]}), len(said["chosen"]), len(gold)))
        own = [s for i, s in enumerate(sentences_of(example)) if i in gold]
        right.append([example.values.get("summary") or join_sentences(own)])
    names = ("sentence_hits", "sentence_chosen", "sentence_right")
    table = np.array(counts, np.int64).reshape(-1, 3).T
    columns: dict[str, np.ndarray] = dict(zip(names, table, strict=True))
    if is_known("rougeL"):
        predictions = [said["prediction"] for said in answers]
        columns["rouge"] = score_rouge(predictions, right)
    return columns
