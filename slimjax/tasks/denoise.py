"""Filling gaps in a text by writing: pretraining of encoder-decoders on any text.

    tokens        a b c d e f g h      c d and g are drawn
    source [S]    a b X e f X h        read by the encoder
    target [T]    X c d X g eos        written by the decoder

Of a row's tokens 15 % are drawn, in spans of 3 in the mean. Each span is replaced by a
mark X, and the target has the spans after marks of their own. Where the vocabulary has
no mask, its id of unknown text stands for it, or the one that begins a text.

In training, spans depend on the seed and the step. In evaluation they depend on the
tokens of the row alone, so that every evaluation asks the same.

References:
    Raffel et al., "Exploring the Limits of Transfer Learning", 2020, section 3.1.4 and
    its published code. There each span has a mark of its own; here their order says
    which is which, so that the vocabulary stays that of later tasks.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Dataset, Outline
from slimjax.errors import ConfigError
from slimjax.models.head import HeadSettings
from slimjax.tasks import lm
from slimjax.tasks.base import Batch, Targets, Task
from slimjax.tasks.lm import shift_right
from slimjax.tasks.mlm import METRICS, draws
from slimjax.text.survey import Progress

DENSITY, MEAN_LENGTH = 0.15, 3.0
"""Part of the tokens that is drawn, and tokens of a span in the mean."""

LEAST_LENGTH = 4
"""Tokens of a row, of which one can be drawn."""


class Sizes(NamedTuple):
    """Numbers that are the same for all rows.

    Attributes:
        drawn: Tokens that are drawn.
        spans: Spans in which they stand, or one more, where one is cut by the ends.
        source: Positions of the source.
        target: Positions of the target.
    """

    drawn: int
    spans: int
    source: int
    target: int


def sizes_of(length: int) -> Sizes:
    """Returns the numbers for rows of so many tokens.

    Examples:
        >>> sizes_of(128)
        Sizes(drawn=19, spans=6, source=116, target=27)
    """
    drawn = min(max(round(length * DENSITY), 1), length - 1)
    spans = min(max(round(drawn / MEAN_LENGTH), 1), length - drawn)
    return Sizes(drawn, spans, length - drawn + spans + 1, drawn + spans + 2)


def load(
    config: DataConfig,
    *,
    head: HeadSettings | None = None,
    codecs: Mapping[str, Any] | None = None,
    all_valid: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Returns the rows of a corpus; see `slimjax.tasks.lm.load`."""
    _check_length(config)
    options: dict[str, Any] = dict(
        codecs=codecs, all_valid=all_valid, progress=progress
    )
    data = lm.load(config, head=head, **options)
    return dataclasses.replace(data, lengths=lengths(config))


def expected_outline(config: DataConfig) -> Outline:
    """Returns what is known of the data before they are read."""
    _check_length(config)
    outline = lm.expected_outline(config)
    return dataclasses.replace(outline, lengths=lengths(config))


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task, for rows in which these tokens are no text."""

    def inputs(batch: Batch, key: Array | None) -> dict[str, Array]:
        source, target = corrupt(batch["tokens"], key, special)
        return {
            "source": source,
            "source_segments": (source != special["pad"]).astype(jnp.int32),
            "tokens": shift_right(target, special["bos"]),
        }

    def targets(batch: Batch, key: Array | None) -> dict[str, Targets]:
        _, target = corrupt(batch["tokens"], key, special)
        is_target = (target != special["pad"]).astype(jnp.float32)
        return {"tokens": Targets(target, is_target)}

    return Task(
        name="denoise",
        heads=lm.heads,
        inputs=inputs,
        targets=targets,
        metrics=METRICS,
        is_random=True,
        target="token",
        hides_future=True,
    )


def corrupt(
    tokens: Int[Array, "B L"], key: Array | None, special: Mapping[str, int]
) -> tuple[Int[Array, "B S"], Int[Array, "B T"]]:
    """Returns sources with gaps, and targets with what fills them.

    Args:
        tokens: Rows of text, which may end in padding.
        key: Root of what is drawn; None for draws that depend on the row alone.
        special: Ids of tokens that are no text, and of the mask.
    """
    sizes, pad = sizes_of(tokens.shape[1]), special["pad"]
    mark = special.get("mask", special.get("unk", special["bos"]))
    is_text = tokens != pad
    is_drawn = draw_spans(draws(tokens, key), sizes) & is_text
    before = jnp.pad(is_drawn[:, :-1], ((0, 0), (1, 0)))
    begins = is_drawn & ~before
    source = jnp.where(begins, mark, tokens)
    source = _keep(source, (begins | ~is_drawn) & is_text, sizes.source, pad)
    # Each token has two places: one for the mark before its span, one for itself.
    pairs = jnp.stack([jnp.full_like(tokens, mark), tokens], axis=-1)
    kept = jnp.stack([begins, is_drawn], axis=-1)
    flat = lambda x: x.reshape(len(x), -1)
    target = _keep(flat(pairs), flat(kept), sizes.target, pad)
    end = jnp.arange(sizes.target)[None] == kept.sum((1, 2))[:, None]
    return source, jnp.where(end, special["eos"], target)


def draw_spans(numbers: Float[Array, "B 3 L"], sizes: Sizes) -> Bool[Array, "B L"]:
    """Returns which tokens are drawn, all of them equally often.

    Kept and drawn spans of random lengths stand in turn; then the row is turned by a
    random number of places, so that it may begin and end with any of them.

    Args:
        numbers: In [0, 1), drawn for each token.
        sizes: How many tokens and spans are drawn.
    """
    length = numbers.shape[-1]
    kept = _split(numbers[:, 0], length - sizes.drawn, sizes.spans)
    drawn = _split(numbers[:, 1], sizes.drawn, sizes.spans)
    both = jnp.stack([kept, drawn], axis=-1).reshape(len(kept), -1)
    ends = jnp.cumsum(both, axis=1)  # B 2N
    span = jnp.sum(jnp.arange(length)[None, :, None] >= ends[:, None], axis=-1)
    turn = (numbers[:, 2, :1] * length).astype(jnp.int32)
    places = (jnp.arange(length)[None] + turn) % length
    return jnp.take_along_axis(span % 2 == 1, places, axis=1)


def _split(
    numbers: Float[Array, "B L"], total: int, parts: int
) -> Int[Array, "B parts"]:
    """Returns lengths of 1 or more that sum to `total`, all such lists alike likely."""
    order = jnp.argsort(numbers[:, : total - 1], axis=1)  # A random permutation.
    is_cut = order < parts - 1
    part = jnp.pad(jnp.cumsum(is_cut, axis=1), ((0, 0), (1, 0)))
    return jnp.sum(part[..., None] == jnp.arange(parts)[None, None], axis=1)


def _keep(
    values: Int[Array, "B L"], kept: Bool[Array, "B L"], length: int, pad: int
) -> Int[Array, "B length"]:
    """Returns the values that are kept, in order, then padding."""
    order = jnp.argsort(~kept, axis=1, stable=True)
    values = jnp.where(kept, values, pad)
    return jnp.take_along_axis(values, order, axis=1)[:, :length]


def lengths(config: DataConfig) -> dict[str, int]:
    """Returns the positions of a row, by tower."""
    sizes = sizes_of(config.seq_len)
    return {"": sizes.target, "source": sizes.source}


def _check_length(config: DataConfig) -> None:
    if config.seq_len < LEAST_LENGTH:
        raise ConfigError(
            f"config.data.seq_len={config.seq_len} leaves nothing to fill in. Set "
            f"{LEAST_LENGTH} or more."
        )
