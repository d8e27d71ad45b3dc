"""Answers to questions that stand in a text, or that it has none (SQuAD 1 and 2).

    question and context [T] -> tower -> two softmaxes over positions: start and end

An example has a ``question``, a ``context`` and ``answers``, texts with their places in
characters; without any, the right answer is that there is none. A row has two targets.
Contexts that are longer than a row are read in windows that overlap by half; the best
span of all of them is taken.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from slimjax.data.config import DataConfig
from slimjax.data.schema import Schema
from slimjax.data.span_columns import (
    ANSWERS,
    CONTEXT,
    END,
    KINDS,
    START,
    WORDS,
    check_answers,
    prepare_questions,
)
from slimjax.metrics import reported
from slimjax.metrics.spans import answer_columns
from slimjax.models.head import HeadConfig, HeadSettings
from slimjax.nn.losses import close_positions
from slimjax.tasks.answers import Answer, Results
from slimjax.tasks.base import (
    Batch,
    Metric,
    Readouts,
    Targets,
    Task,
    nats_per_target,
)
from slimjax.tasks.inputs import find_types, read_row
from slimjax.tasks.labelled import expected_outline as expected_outline
from slimjax.tasks.labelled import make_load
from slimjax.text.examples import Example
from slimjax.text.words import split_text

MAX_WORDS = 30
"""Most words of an answer."""

NUM_BEST = 5
"""Answers of ``nbest``."""

METRICS = (
    *reported.SPANS,
    Metric("nats_per_end", "nats per end", "low", nats_per_target),
)


class Spans(NamedTuple):
    """Spans of words that may be the answer, each once.

    Attributes:
        first: The first word of each.
        last: The last word of each.
        gain: Its score above that of no answer.
    """

    first: Int[np.ndarray, " S"]
    last: Int[np.ndarray, " S"]
    gain: Float[np.ndarray, " S"]


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: a question, a context, and answers."""
    del config, head
    return Schema(KINDS, prepare_questions, check_answers, shared=CONTEXT)


load = make_load(schema)


def heads(sizes: Mapping[str, int]) -> tuple[HeadConfig, ...]:
    """Returns the two heads: a number at each position, for start and for end."""
    del sizes
    return tuple(HeadConfig(name, 1, loss="positions") for name in (START, END))


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task; padding is no part of what is read."""

    def inputs(batch: Batch, _: Any) -> dict[str, Array]:
        return read_row(batch, special)

    def targets(batch: Batch, _: Any) -> dict[str, Targets]:
        is_open = find_open(batch["tokens"], special)
        return {name: _target(batch[name], is_open) for name in (START, END)}

    def predict(readouts: Readouts, batch: Batch) -> dict[str, Array]:
        is_open = find_open(batch["tokens"], special)
        logits = {name: readouts[name].logits()[..., 0] for name in (START, END)}
        return {name: close_positions(own, is_open) for name, own in logits.items()}

    return Task(
        name="span_qa",
        heads=heads,
        inputs=inputs,
        targets=targets,
        metrics=METRICS,
        predict=predict,
        answer=answer,
        score=score,
        formats=("jsonl", "text", "squad"),
        target="end",
    )


def find_open(
    tokens: Int[Array, "B T"], special: Mapping[str, int]
) -> Bool[Array, "B T"]:
    """Returns which positions may be chosen: those of the context, and the first."""
    is_text = (tokens != special["pad"]) & (tokens != special["eos"])
    is_context = (find_types(tokens, special["eos"]) == 1) & is_text
    return is_context.at[:, 0].set(True)


def _target(place: Int[Array, " B"], is_open: Bool[Array, "B T"]) -> Targets:
    is_target = (place >= 0).astype(jnp.float32)  # Below 0 in rows that only fill up.
    return Targets(jnp.maximum(place, 0), is_target, is_open)


def answer(results: Results) -> list[Answer]:
    """Returns the best answer of each example, its place, and others.

    ``prediction`` is its text, ``start`` and ``end`` are its characters, ``score`` is
    its probability, and ``nbest`` has the best ones, no answer among them: its text is
    empty, and its place is None.
    """
    answers = []
    for i, example in enumerate(results.examples):
        rows, context = results.rows_of(i), example.values[CONTEXT]
        logits = results.kept[START][rows], results.kept[END][rows]
        spans = find_spans(results.rows[WORDS][rows], *logits)
        answers.append(_describe(context, spans))
    return answers


def find_spans(
    words: Int[np.ndarray, "R T"],
    starts: Float[np.ndarray, "R T"],
    ends: Float[np.ndarray, "R T"],
) -> Spans:
    """Returns all spans of up to 30 words in the windows of a context.

    A span has the highest of its windows' scores. The score is the sum of two logits,
    less the sum of those of no answer in the same window.

    Args:
        words: The word that begins at each position.
        starts: Logits of starts.
        ends: Logits of ends.
    """
    parts = []
    for own, start, end in zip(words, starts, ends, strict=True):
        at = np.flatnonzero(own >= 0)
        start = np.float64(start[at]) - start[0]
        end = np.float64(end[at]) - end[0]
        for size in range(min(MAX_WORDS, len(at))):
            first = own[at][: len(at) - size]
            gain = start[: len(at) - size] + end[size:]
            parts.append((first, np.full(len(first), size), gain))
    if not parts:
        empty = np.zeros(0, np.int64)
        return Spans(empty, empty, np.zeros(0))
    first, size, gain = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((-gain, size, first))
    first, size, gain = first[order], size[order], gain[order]
    is_new = np.ones(len(first), bool)
    is_new[1:] = (np.diff(first) != 0) | (np.diff(size) != 0)
    return Spans(first[is_new], (first + size)[is_new], gain[is_new])


def _describe(context: str, spans: Spans) -> Answer:
    places = split_text(context).spans
    norm = np.logaddexp.reduce(np.append(spans.gain, 0.0))
    best = np.argsort(-spans.gain, kind="stable")[:NUM_BEST]
    found: list[Answer] = []
    for number in best:
        start, end = places[spans.first[number]][0], places[spans.last[number]][1]
        p = float(np.exp(spans.gain[number] - norm))
        found.append(
            {"text": context[start:end], "start": start, "end": end, "score": p}
        )
    nothing = {"text": "", "start": None, "end": None, "score": float(np.exp(-norm))}
    found = sorted([*found, nothing], key=lambda one: -one["score"])[:NUM_BEST]
    top = found[0]
    own = {name: top[name] for name in ("start", "end", "score")}
    return {"prediction": top["text"], **own, "nbest": found}


def score(
    answers: Sequence[Answer], examples: Sequence[Example]
) -> dict[str, np.ndarray]:
    """Returns exact match and F1 of each example, of the best of its right answers."""
    right = [[text for text, _ in e.values[ANSWERS]] for e in examples]
    return answer_columns([said["prediction"] for said in answers], right)
