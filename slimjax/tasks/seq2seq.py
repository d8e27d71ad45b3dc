"""Text to text: a target is written for a source, as in translation and summaries.

    source [S] -> encoder -> memory [S E]
    target [T] -> decoder that sees its past and the memory -> the token that follows

or, with ``config.data.one_row``, both in one row [S + T] of a decoder.

An example has a ``source`` and a ``target``: a text, or a list of texts, of which the
first is learned and all are references for metrics. Error is in nats per target token,
the end of the text counted.

References:
    Sutskever et al., "Sequence to Sequence Learning with Neural Networks", 2014.
    Vaswani et al., "Attention Is All You Need", 2017, section 3.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Field, Outline
from slimjax.data.pairs import (
    OWN_VOCAB,
    PAD,
    PROMPT,
    SOURCE,
    TARGET,
    pair_lengths,
    prepare_pairs,
    target_length,
)
from slimjax.data.schema import Schema
from slimjax.data.tokenizer import Tokenizer
from slimjax.data.tokenizer_choice import expected_vocab
from slimjax.metrics import reported
from slimjax.metrics.texts import describe_settings, text_columns
from slimjax.models.head import HeadSettings
from slimjax.tasks.answers import Answer, Results
from slimjax.tasks.base import (
    Batch,
    Metric,
    Targets,
    Task,
    nats_per_target,
    perplexity,
)
from slimjax.tasks.labelled import make_load
from slimjax.tasks.lm import heads, shift_right
from slimjax.text.examples import Example

SCHEMA = Schema({SOURCE: "text", TARGET: "texts"}, prepare=prepare_pairs)


METRICS = (
    Metric("nats_per_token", "nats per token", "low", nats_per_target, from_loss=True),
    Metric("perplexity", "perplexity", "low", perplexity, from_loss=True),
    *reported.TEXTS,
)


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: a source, and a target or several."""
    del config, head
    return SCHEMA


load = make_load(schema)


def expected_outline(config: DataConfig) -> Outline:
    """Returns what is known of the data before they are read."""
    vocab_size, special = expected_vocab(config)
    own = config.source_vocab_size
    length, positions = target_length(config), ("positions",)
    return Outline(
        fields={
            PROMPT if config.one_row else SOURCE: Field(
                (config.seq_len,), "int32", positions
            ),
            "tokens": Field((length,), "int32", positions),
        },
        sizes={"vocab": vocab_size} | ({OWN_VOCAB: own} if own else {}),
        lengths=lengths(config),
        special=dict(special) | {PAD: special["pad"]},
    )


def lengths(config: DataConfig) -> dict[str, int]:
    """Returns the positions of a row, by tower."""
    return pair_lengths(config)


def make_task(special: Mapping[str, int], name: str = "seq2seq") -> Task:
    """Returns the task, for rows in which these tokens are no text."""

    def inputs(batch: Batch, _: Any) -> dict[str, Array]:
        if PROMPT in batch:
            return {"tokens": join(batch, special["pad"])[0]}
        source = batch[SOURCE]
        is_text = (source != special[PAD]).astype(jnp.int32)
        read = {SOURCE: source, f"{SOURCE}_segments": is_text}
        if "tokens" in batch:
            read["tokens"] = shift_right(batch["tokens"], special["bos"])
        return read

    def targets(batch: Batch, _: Any) -> dict[str, Targets]:
        tokens = batch["tokens"]
        if PROMPT in batch:
            row, is_target = join(batch, special["pad"])
            shift = lambda x: jnp.pad(x[:, 1:], ((0, 0), (0, 1)))
            tokens, is_target = shift(row), shift(is_target)
        else:
            is_target = tokens != special["pad"]
        return {"tokens": Targets(tokens, is_target.astype(jnp.float32))}

    return Task(
        name=name,
        heads=heads,
        inputs=inputs,
        targets=targets,
        metrics=METRICS,
        answer=answer,
        score=score,
        describe=describe,
        generates=True,
        target="token",
        hides_future=True,
    )


def join(batch: Batch, pad_id: int) -> tuple[Array, Array]:
    """Returns prompts and targets in one row, ``[B S+T]``, and which are targets.

    Padding comes last. Without targets, prompts alone.

    Examples:
        >>> batch = {"prompt": jnp.array([[5, 0]]), "tokens": jnp.array([[7, 0]])}
        >>> join(batch, 0)[0]
        Array([[5, 7, 0, 0]], dtype=int32)
    """
    prompt = batch[PROMPT]
    target = batch.get("tokens", prompt[:, :0])
    row = jnp.concatenate([prompt, target], axis=1)
    is_target = jnp.arange(row.shape[1])[None] >= prompt.shape[1]
    is_target = is_target & (row != pad_id)
    order = jnp.argsort(row == pad_id, axis=1, stable=True)
    take = lambda x: jnp.take_along_axis(x, order, axis=1)
    return take(row), take(is_target)


def answer(results: Results) -> list[Answer]:
    """Returns ``prediction``, the text that was written, and ``logprob``, its log p.

    The probability is that of all its tokens, the end counted, in nats.
    """
    tokenizer = cast(Tokenizer, results.codecs["tokens"])
    rows, logs = results.kept["tokens"], results.kept["logprob"]
    first = results.starts[:-1]
    return [
        {"prediction": tokenizer.decode(rows[i]), "logprob": float(logs[i])}
        for i in first
    ]


def score(
    answers: Sequence[Answer], examples: Sequence[Example]
) -> dict[str, np.ndarray]:
    """Returns the counts of BLEU, chrF and ROUGE of each example."""
    predictions = [answer["prediction"] for answer in answers]
    return text_columns(predictions, [example.values[TARGET] for example in examples])


def describe(examples: Sequence[Example]) -> dict[str, str]:
    """Returns how texts are cut for BLEU and ROUGE."""
    return describe_settings([example.values[TARGET] for example in examples])
