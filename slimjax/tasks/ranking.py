"""Ranking: which of many texts goes with a text, such as the answer to a question.

    text [T] -> tower -> pool -> a vector of length 1; texts are compared by cosines

An example has a ``text`` and its partner, a ``text_pair``; both are read by one model.
Error is the cross entropy of finding the partner among all of the batch, the mean of
both ways. So a large batch makes a harder task. ``predict`` gives the vector of a text,
or ranks candidates for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from slimjax.data.config import DataConfig
from slimjax.data.schema import Schema
from slimjax.data.two_columns import PARTNER, PARTNER_TOKENS, TEXT, prepare_two
from slimjax.metrics import reported
from slimjax.models.head import HeadConfig, HeadSettings
from slimjax.tasks.answers import Answer, AnswerFn, Results
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

VECTOR = "vector"
"""Name of the head, and of what is kept of a text."""

NUM_RANKED = 10
"""Candidates of ``ranking``."""

_AT_ONCE = 256  # Most queries whose scores are in memory at once,
_MOST_SCORES = 1 << 24  # and most of their scores.

METRICS = (
    *reported.RANKS,
    Metric("nats_per_pair", "nats per pair", "low", nats_per_target),
)


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: a text, and the one that goes with it."""
    del config, head
    return Schema({TEXT: "text", PARTNER: "passage"}, prepare_two)


load = make_load(schema)


def heads(sizes: Mapping[str, int]) -> tuple[HeadConfig, ...]:
    """Returns the one head: a vector for each text."""
    del sizes
    return (HeadConfig(VECTOR, 0, at="first", table="batch", loss="contrast"),)


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task; padding is no part of what is read."""

    def inputs(batch: Batch, _: Any) -> dict[str, Array]:
        parts = [batch[name] for name in ("tokens", PARTNER_TOKENS) if name in batch]
        return read_row({"tokens": jnp.concatenate(parts)}, special)

    def targets(batch: Batch, _: Any) -> dict[str, Targets]:
        tokens = batch[PARTNER_TOKENS]
        is_row = jnp.any(tokens != special["pad"], axis=1).astype(jnp.float32)
        return {VECTOR: Targets(_number(tokens), is_row)}

    return Task(
        name="ranking",
        heads=heads,
        inputs=inputs,
        targets=targets,
        metrics=METRICS,
        predict=predict,
        answer=answer,
        score=score,
        formats=("jsonl",),
        passes=2,
        among=among,
        target="pair",
    )


def _number(tokens: Array) -> Array:
    """Returns a number of each row that is the same for rows of the same tokens."""
    places = jnp.arange(tokens.shape[1], dtype=jnp.uint32)
    factors = (places * 2 + 1) * jnp.uint32(2654435761)
    return jnp.sum(tokens.astype(jnp.uint32) * factors[None], axis=1).astype(jnp.int32)


def predict(readouts: Readouts, batch: Batch) -> dict[str, Array]:
    """Returns the vector of each text, and of its partner if that is there."""
    vectors = readouts[VECTOR].x
    if PARTNER_TOKENS not in batch:
        return {VECTOR: vectors}
    size = len(batch["tokens"])
    return {VECTOR: vectors[:size], PARTNER: vectors[size:]}


def answer(results: Results) -> list[Answer]:
    """Returns ``vector``; where examples have partners, ``ranking`` and ``rank``.

    Candidates are then the partners of all these examples, each once; ``rank`` is the
    place of the right one, from 1.
    """
    vectors = results.kept[VECTOR]
    if PARTNER not in results.kept:
        return [{VECTOR: _plain(vector)} for vector in vectors]
    texts = [example.values[PARTNER] for example in results.examples]
    first = {text: i for i, text in reversed(list(enumerate(texts)))}
    chosen = sorted(first.values())
    place = {texts[i]: k for k, i in enumerate(chosen)}
    right = np.array([place[text] for text in texts])
    candidates = results.kept[PARTNER][chosen]
    return rank(vectors, [texts[i] for i in chosen], candidates, right)


def among(texts: Sequence[str], candidates: Float[np.ndarray, "M D"]) -> AnswerFn:
    """Returns what answers with a ``ranking`` of these texts.

    Args:
        texts: The candidates.
        candidates: Their vectors.
    """
    return lambda results: rank(results.kept[VECTOR], texts, candidates)


def rank(
    vectors: Float[np.ndarray, "N D"],
    texts: Sequence[str],
    candidates: Float[np.ndarray, "M D"],
    right: np.ndarray | None = None,
) -> list[Answer]:
    """Returns the best candidates of each text, and the place of the right one.

    Candidates with the same cosine keep their order.

    Args:
        vectors: Those of the texts.
        texts: The candidates.
        candidates: Their vectors.
        right: The number of the right candidate of each text, if known.
    """
    answers: list[Answer] = []
    size = min(max(_MOST_SCORES // len(candidates), 1), _AT_ONCE)
    for start in range(0, len(vectors), size):
        scores = np.asarray(vectors[start : start + size]) @ np.asarray(candidates).T
        for i, own in enumerate(scores):
            best = [
                {"text": texts[k], "score": round(float(own[k]), 6)}
                for k in _find_best(own)
            ]
            said: Answer = {"ranking": best}
            if right is not None:
                said["rank"] = _count_rank(own, int(right[start + i]))
            answers.append(said)
    return answers


def _find_best(scores: Float[np.ndarray, " M"]) -> np.ndarray:
    """Returns the numbers of the highest scores, in order; equal ones keep theirs."""
    costs, last = _to_costs(scores), min(NUM_RANKED, len(scores)) - 1
    among = np.flatnonzero(costs <= np.partition(costs, last)[last])
    return among[np.argsort(costs[among], kind="stable")][:NUM_RANKED]


def _count_rank(scores: Float[np.ndarray, " M"], number: int) -> int:
    """Returns the place of a score among all in that order, from 1."""
    costs = _to_costs(scores)
    better, equal = costs < costs[number], costs[:number] == costs[number]
    return 1 + int(np.count_nonzero(better)) + int(np.count_nonzero(equal))


def _to_costs(scores: Float[np.ndarray, " M"]) -> Float[np.ndarray, " M"]:
    """Returns numbers that are low for high scores, and highest for NaN."""
    return np.where(np.isnan(scores), np.inf, -scores)


def score(
    answers: Sequence[Answer], examples: Sequence[Example]
) -> dict[str, np.ndarray]:
    """Returns the place of each example's partner among those of all examples."""
    del examples
    return {"rank": np.array([said["rank"] for said in answers], np.int64)}


def _plain(vector: Float[np.ndarray, " D"]) -> list[float]:
    return [round(float(number), 6) for number in vector]
