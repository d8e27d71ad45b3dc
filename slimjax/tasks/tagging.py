"""Tagging: which words of a text are names, of what, and where each begins and ends.

    tokens [T] -> tower -> at the first piece of each word, softmax over the tags

An example has ``tokens`` and ``tags`` (BIO or BIOES), or a ``text`` and ``entities``,
``[[start, end, type]]`` in characters. A target is a word. Texts that are longer than a
row are read in windows that overlap; each word is answered once.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from slimjax.data.config import DataConfig
from slimjax.data.entity_words import words_of
from slimjax.data.schema import Schema
from slimjax.data.tag_columns import (
    TAGS,
    WORDS,
    check_tags,
    choose_tag_kinds,
    prepare_tagged,
    tags_of,
)
from slimjax.data.tags import Tags, to_bio
from slimjax.metrics import by_class, reported
from slimjax.metrics.bootstrap import Columns
from slimjax.metrics.entities import entities_of, entity_columns
from slimjax.models.head import HeadConfig, HeadSettings
from slimjax.tasks.answers import Answer, Results
from slimjax.tasks.base import (
    Batch,
    Metric,
    Readouts,
    Targets,
    Task,
    nats_per_target,
    ratio,
)
from slimjax.tasks.inputs import read_row
from slimjax.tasks.labelled import expected_outline as expected_outline
from slimjax.tasks.labelled import make_load
from slimjax.text.examples import Example


def tag_accuracy(columns: Columns) -> np.ndarray:
    """Returns the part of words whose tag is right."""
    return ratio(columns["tag_hits"], columns["targets"])


METRICS = (
    *reported.ENTITIES,
    Metric("tag_accuracy", "tag accuracy", "high", tag_accuracy, is_rate=True),
    Metric("nats_per_word", "nats per word", "low", nats_per_target),
)


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: tokens and tags, or a text and entities.

    Where ``config.data.fields`` names one of these, examples have that kind; else it is
    the kind of the first example.
    """
    del head
    repairs = config.on_bad_example == "repair"
    check = functools.partial(check_tags, repairs=repairs)
    return Schema(choose_tag_kinds(config.fields), prepare_tagged, check)


load = make_load(schema)


def heads(sizes: Mapping[str, int]) -> tuple[HeadConfig, ...]:
    """Returns the one head: a tag at each position."""
    return (HeadConfig(TAGS, sizes["classes"], bias=True),)


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task; padding is no part of what is read."""

    def inputs(batch: Batch, _: Any) -> dict[str, Array]:
        return read_row(batch, special)

    return Task(
        name="tagging",
        heads=heads,
        inputs=inputs,
        targets=targets,
        metrics=METRICS,
        outputs=outputs,
        predict=predict,
        answer=answer,
        score=score,
        by_class=count_types,
        formats=("jsonl", "text", "conll"),
        target="word",
    )


def targets(batch: Batch, _: Any) -> dict[str, Targets]:
    """Returns the tags at the first pieces of words; other positions are no targets."""
    tags = batch[TAGS]
    return {TAGS: Targets(jnp.maximum(tags, 0), (tags >= 0).astype(jnp.float32))}


def outputs(readouts: Readouts, batch: Batch) -> dict[str, Array]:
    """Returns how many words of each row have the right tag."""
    found = predict(readouts, batch)[TAGS].astype(jnp.int32)
    return {"tag_hits": jnp.sum(found == batch[TAGS], axis=1, dtype=jnp.int32)}


def predict(readouts: Readouts, batch: Batch) -> dict[str, Array]:
    """Returns the most probable tag of each position."""
    del batch
    best = jnp.argmax(readouts[TAGS].logits(), axis=-1)
    return {TAGS: best.astype(jnp.int16)}


def answer(results: Results) -> list[Answer]:
    """Returns ``prediction``, the tag of each word, and ``entities``.

    These are ``[start, end, type]``: of tokens, with ends after the last one; or of
    characters, where a text is read. Then ``tokens`` are the words of the tags.
    """
    tags = cast(Tags, results.codecs[TAGS])
    words, found = results.rows[WORDS], results.kept[TAGS]
    answers = []
    for i, example in enumerate(results.examples):
        own, rows = words_of(example), results.rows_of(i)
        classes = np.zeros(len(own.texts), np.int64)
        here = words[rows] >= 0
        classes[words[rows][here]] = found[rows][here]
        entities = [
            [own.spans[start][0], own.spans[end - 1][1], kind]
            for start, end, kind in tags.entities(classes.tolist())
        ]
        said: Answer = {"prediction": tags.write(classes.tolist())}
        if "text" in example.values:
            said["tokens"] = [
                example.values["text"][slice(*span)] for span in own.spans
            ]
        answers.append(said | {"entities": entities})
    return answers


def score(
    answers: Sequence[Answer], examples: Sequence[Example]
) -> dict[str, np.ndarray]:
    """Returns counts of entities and right tags of each example, windows together.

    Tags count as they are written, so one that goes on with nothing begins an entity.
    """
    counts = entity_columns([said["entities"] for said in answers], _right(examples))
    pairs = [
        (to_bio(said["prediction"]), tags_of(example))
        for said, example in zip(answers, examples, strict=True)
    ]
    hits = [sum(a == b for a, b in zip(*pair, strict=True)) for pair in pairs]
    return counts | {"tag_hits": np.array(hits, np.int64)}


def count_types(
    answers: Sequence[Answer], examples: Sequence[Example], seed: int
) -> dict[str, Any]:
    """Returns precision, recall and F1 of the entities of each type."""
    said = [answer["entities"] for answer in answers]
    return by_class.count_types(said, _right(examples), seed=seed)


def _right(examples: Sequence[Example]) -> list[Sequence[Any]]:
    """Returns the entities of examples."""
    return [
        example.values["entities"]
        if "entities" in example.values
        else entities_of(to_bio(example.values[TAGS]))
        for example in examples
    ]
