"""A model with some of the rows of its vocabulary, and texts that it reads.

Nothing else of it changes: on texts without the rows that are gone, its logits are
those of the original, and its probabilities those of the original over the rows that
are kept, scaled to 1.
"""

import dataclasses

import jax
import numpy as np
from jaxtyping import Int

from slimjax.compress.moments import HEAD, Moments
from slimjax.compress.rows import Rows, Text
from slimjax.compress.slimming import Material, make_material
from slimjax.data.reencoding import Reencoder
from slimjax.errors import ConfigError
from slimjax.models.config import ModelConfig
from slimjax.objective.inventory import VOCAB
from slimjax.trees import axis_names

MULTIPLE = 32
"""Lengths of rows that errors are measured on are brought to multiples of it."""

SHORTEST = 0.05
"""Part of the rows that may be left out, because they are shorter than the others."""


def cut_rows(whole: Material, kept: Int[np.ndarray, " K"]) -> Material:
    """Returns a model with some of the rows of its vocabulary.

    Args:
        whole: The model.
        kept: Rows that stay, ascending.
    """
    names = axis_names(whole.model.abstract_variables())["params"]

    def cut(leaf: np.ndarray, axes: tuple[str, ...]) -> np.ndarray:
        return leaf if VOCAB not in axes else np.take(leaf, kept, axes.index(VOCAB))

    params = jax.tree.map(cut, whole.variables["params"], names)
    model = with_vocabulary(whole.model, len(kept))
    return make_material(model, {**whole.variables, "params": params}, whole.lengths)


def with_vocabulary(model: ModelConfig, num_rows: int) -> ModelConfig:
    """Returns the shape of a model with a vocabulary of another size."""
    heads = tuple(
        dataclasses.replace(head, answers=num_rows)
        if head.answers == model.vocab_size
        else head
        for head in model.heads
    )
    return dataclasses.replace(model.with_main(num_inputs=num_rows), heads=heads)


def cut_moments(moments: Moments, kept: Int[np.ndarray, " K"]) -> Moments:
    """Returns moments without those of rows that are gone; all others stay valid."""
    slopes = {**moments.slopes, HEAD: moments.slopes[HEAD][kept]}
    return dataclasses.replace(moments, slopes=slopes)


def reencode_text(text: Text, encoder: Reencoder, most: int = 0) -> Text:
    """Returns the same text in new tokens; what was not scored still is not.

    Args:
        text: Rows of a language model.
        encoder: From old ids to new ones.
        most: Most positions that the model has; 0 for any number.

    Raises:
        ConfigError: If a row gets longer than that.
    """
    rows = _reencode(text.rows, encoder)
    length = max(len(tokens) for tokens, _ in rows) - 1
    if most and length > most:
        raise ConfigError(
            f"--vocabulary=price: a row of text gets {length} tokens, and the model "
            f"has {most} positions. Set a smaller config.data.seq_len."
        )
    length = min(-(-length // MULTIPLE) * MULTIPLE, most or np.iinfo(np.int32).max)
    return Text(_stack(rows, length), text.num_bytes)


def reencode_calibration(rows: Rows, encoder: Reencoder) -> Rows:
    """Returns rows in new tokens, cut to one length, so that none has padding.

    Those that are much shorter than others are left out.
    """
    made = _reencode(rows, encoder)
    lengths = [len(tokens) - 1 for tokens, _ in made]
    length = min(rows.length, int(np.quantile(lengths, SHORTEST, method="lower")))
    cut = [(tokens[: length + 1], num_read) for tokens, num_read in made]
    return _stack([row for row in cut if len(row[0]) == length + 1], length)


def _reencode(rows: Rows, encoder: Reencoder) -> list[tuple[np.ndarray, int]]:
    """Returns the new tokens of each row, and how many at its start are only read.

    They are encoded apart from the others, so that those stand for the same bytes.
    """
    tokens = rows.inputs["tokens"]
    whole = np.concatenate([tokens[:, :1], rows.targets], axis=1)
    num_read = 1 + (np.cumsum(rows.weights, axis=1) == 0).sum(1)
    pairs = list(zip(whole, num_read, strict=True))
    read = encoder.encode([row[:count] for row, count in pairs])
    scored = encoder.encode([row[count:] for row, count in pairs])
    return [
        (np.concatenate([first, rest]), len(first))
        for first, rest in zip(read, scored, strict=True)
    ]


def _stack(rows: list[tuple[np.ndarray, int]], length: int) -> Rows:
    """Returns rows of one length, filled up at their end."""
    tokens = np.zeros((len(rows), length + 1), np.int32)
    weights = np.zeros((len(rows), length), np.float32)
    for i, (row, num_read) in enumerate(rows):
        tokens[i, : len(row)] = row
        weights[i, num_read - 1 : len(row) - 1] = 1.0
    return Rows({"tokens": tokens[:, :-1]}, tokens[:, 1:], weights)
