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

_AT_ONCE = 256  # Queries whose scores are in memory at once.

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
    for start in range(0, len(vectors), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        scores = np.asarray(vectors[part]) @ np.asarray(candidates).T
        orders = np.argsort(-scores, axis=1, kind="stable")
        for i, (order, own) in enumerate(zip(orders, scores, strict=True)):
            best = [
                {"text": texts[k], "score": round(float(own[k]), 6)}
                for k in order[:NUM_RANKED]
            ]
            said: Answer = {"ranking": best}
            if right is not None:
                said["rank"] = 1 + int(np.flatnonzero(order == right[start + i])[0])
            answers.append(said)
    return answers


def score(
    answers: Sequence[Answer], examples: Sequence[Example]
) -> dict[str, np.ndarray]:
    """Returns the place of each example's partner among those of all examples."""
    del examples
    return {"rank": np.array([said["rank"] for said in answers], np.int64)}


def _plain(vector: Float[np.ndarray, " D"]) -> list[float]:
    return [round(float(number), 6) for number in vector]
