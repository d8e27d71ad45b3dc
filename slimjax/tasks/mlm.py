"""Masked language modelling: tokens that are hidden are predicted from all others.

    tokens [T] -> some are hidden -> tower that sees all -> the table of tokens

Of the tokens of a row 15 % are targets; whole words with ``config.data.whole_words``.
Of the targets 80 % are read as the mask, 10 % as another token of the row, and 10 % as
they are. Rows are those of language modelling, without causality; the first position
is the beginning of text, which a classifier may read later.

In training, what is hidden depends on the seed and the step. In evaluation it depends
on the tokens of the row alone, so that every evaluation asks the same.

References:
    Devlin et al., "BERT", 2019, section 3.1 and appendix A.1.
    Liu et al., "RoBERTa", 2019, section 4.1 (masks that change, rows of full length).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Dataset, Outline
from slimjax.data.words import JOINED, add_words, joined_field
from slimjax.errors import ConfigError
from slimjax.models.head import HeadSettings
from slimjax.tasks import lm
from slimjax.tasks.base import (
    Batch,
    Metric,
    Targets,
    Task,
    nats_per_target,
    perplexity,
)
from slimjax.text.survey import Progress

HIDDEN = 0.15
"""Part of the tokens, or words, that are targets."""

AS_MASK, AS_OTHER = 0.8, 0.1
"""Parts of the targets that are read as the mask, and as another token."""


METRICS = (
    Metric("nats_per_token", "nats per token", "low", nats_per_target, from_loss=True),
    Metric("perplexity", "perplexity", "low", perplexity, from_loss=True),
)


def load(
    config: DataConfig,
    *,
    head: HeadSettings | None = None,
    codecs: Mapping[str, Any] | None = None,
    all_valid: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Returns the rows of a corpus, and which tokens go on with a word if asked."""
    _check_length(config)
    config = dataclasses.replace(config, pieces=config.pieces or "words")
    options = dict[str, Any](codecs=codecs, all_valid=all_valid, progress=progress)
    data = lm.load(config, head=head, **options)
    if not config.whole_words:
        return data
    splits, fields = add_words(data)
    return dataclasses.replace(data, splits=splits, fields=fields)


def expected_outline(config: DataConfig) -> Outline:
    """Returns what is known of the data before they are read."""
    _check_length(config)
    outline = lm.expected_outline(config)
    if not config.whole_words:
        return outline
    fields = {**outline.fields, JOINED: joined_field(config.seq_len)}
    return dataclasses.replace(outline, fields=fields)


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task, for rows in which these tokens are no text.

    Where the vocabulary has no mask, padding stands for it: no text has it either.
    """

    def inputs(batch: Batch, key: Array | None) -> dict[str, Array]:
        tokens, read, _ = hide(batch, key, special)
        is_text = (tokens != special["pad"]).astype(jnp.int32)
        return {"tokens": read, "tokens_segments": is_text}

    def targets(batch: Batch, key: Array | None) -> dict[str, Targets]:
        tokens, _, is_target = hide(batch, key, special)
        return {"tokens": Targets(tokens, is_target.astype(jnp.float32))}

    return Task(
        name="mlm",
        heads=lm.heads,
        inputs=inputs,
        targets=targets,
        metrics=METRICS,
        is_random=True,
        target="token",
        target_at=0,
        fills_gaps=True,
    )


def hide(
    batch: Batch, key: Array | None, special: Mapping[str, int]
) -> tuple[Int[Array, "B T"], Int[Array, "B T"], Bool[Array, "B T"]]:
    """Returns the right tokens, what is read in their place, and which are targets.

    Args:
        batch: The tokens, and which go on with a word where whole words are hidden.
        key: Root of what is drawn; None for draws that depend on the row alone.
        special: Ids of tokens that are no text, and of the mask.
    """
    tokens = batch["tokens"].at[:, 0].set(special["bos"])
    choice, action, other = (draws(tokens, key)[:, i] for i in range(3))
    if JOINED in batch:  # One draw for all tokens of a word.
        words = jnp.cumsum(batch[JOINED] == 0, axis=1) - 1
        choice = jnp.take_along_axis(choice, words, axis=1)
    no_text = jnp.array(sorted({special[name] for name in ("pad", "bos", "eos")}))
    is_target = (choice < HIDDEN) & ~jnp.isin(tokens, no_text)
    places = (other * tokens.shape[1]).astype(jnp.int32)
    others = jnp.take_along_axis(tokens, places, axis=1)
    mask = special.get("mask", special["pad"])
    read = jnp.where(action < AS_MASK + AS_OTHER, others, tokens)
    read = jnp.where(action < AS_MASK, mask, read)
    return tokens, jnp.where(is_target, read, tokens), is_target


def draws(tokens: Int[Array, "B T"], key: Array | None) -> Float[Array, "B 3 T"]:
    """Returns three numbers in [0, 1) for each token.

    Args:
        tokens: The rows.
        key: Root of the numbers; None for those of each row's own tokens.
    """
    num_rows, length = tokens.shape
    if key is not None:
        return jax.random.uniform(key, (num_rows, 3, length))
    factors = jnp.arange(length, dtype=jnp.uint32) * jnp.uint32(2654435761) + 1
    sums = jnp.sum(tokens.astype(jnp.uint32) * factors[None], axis=1)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), sums)
    return jax.vmap(lambda key: jax.random.uniform(key, (3, length)))(keys)


def _check_length(config: DataConfig) -> None:
    if config.seq_len < 2:
        raise ConfigError(
            f"config.data.seq_len={config.seq_len} leaves nothing to hide: the first "
            "token is the beginning of text. Set 2 or more."
        )
