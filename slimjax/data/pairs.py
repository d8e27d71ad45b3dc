"""Texts and what is to be written for them: rows of a source, and rows of a target.

The array ``source`` has bos, the text, eos and padding; ``tokens``, the target, has the
text, eos and padding. Both have one tokenizer, or each its own. Of several targets of
an example the first is the one that is learned; all are references for metrics.

For a decoder, which reads one row, the first array is called ``prompt``: the target
goes on from it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Field
from slimjax.data.encoding import Encoded, Prepared
from slimjax.data.material import Material
from slimjax.data.text_columns import encode_row
from slimjax.data.tokenizer import Tokenizer
from slimjax.text.examples import Example

SOURCE, TARGET = "source", "target"
"""Names of the two texts."""

PROMPT = "prompt"
"""The field of sources that stand in one row with their targets."""

Read = Callable[[Example], str]
"""From an example to one of its texts."""

OWN_VOCAB = "source_vocab"
"""The size of the source's vocabulary, where it has one of its own."""

PAD = "source_pad"
"""The id that fills up sources, among the special ids."""


def prepare_pairs(material: Material) -> list[Prepared]:
    """Returns the columns of sources and targets; of sources alone, if that is all."""
    config = material.config
    if config.source_vocab_size:
        own = dataclasses.replace(config, vocab_size=config.source_vocab_size)
        sources = dataclasses.replace(material, config=own)
        source, target = sources.tokenizer(SOURCE, field=SOURCE), None
        target = material.tokenizer(TARGET)
    else:
        source = target = material.tokenizer(SOURCE, TARGET)
    read = lambda example: example.values[SOURCE]
    columns = [prepare_source(read, source, target, config)]
    if TARGET in material.kinds:
        first = lambda example: first_text(example.values[TARGET])
        columns.append(prepare_target(first, target, target_length(config)))
    return columns


def pair_lengths(config: DataConfig) -> dict[str, int]:
    """Returns the positions of a row, by tower."""
    source, target = config.seq_len, target_length(config)
    return {"": source + target} if config.one_row else {SOURCE: source, "": target}


def target_length(config: DataConfig) -> int:
    """Returns the positions of a row of targets."""
    return config.target_len or config.seq_len


def prepare_source(
    read: Read,
    tokenizer: Tokenizer,
    shared: Tokenizer,
    config: DataConfig,
    *,
    keep_end: bool = False,
) -> Prepared:
    """Returns the column of sources, int32 ``[S]``.

    Args:
        read: Returns the source of an example.
        tokenizer: Makes tokens of it.
        shared: The tokenizer of targets, perhaps the same.
        config: Knows the length of a row.
        keep_end: Whether a text that is too long loses its beginning, not its end.
    """
    length, is_own = config.seq_len, tokenizer is not shared
    field = PROMPT if config.one_row else SOURCE

    def encode(examples: list[Example]) -> Encoded:
        ids = tokenizer.encode_batch([read(example) for example in examples])
        sizes = np.array([len(own) + 2 for own in ids], np.int64)
        if keep_end:
            ids = [own[max(len(own) + 2 - length, 0) :] for own in ids]
        rows = [encode_row(tokenizer, own, length) for own in ids]
        counts = {
            "tokens": int(np.minimum(sizes, length).sum()),
            "cut": int((sizes > length).sum()),
        }
        array = stack_rows(rows, length, tokenizer)
        return Encoded({field: array}, counts, is_cut=sizes > length)

    sizes, codecs = {}, {"tokens": shared}
    if is_own:
        sizes, codecs = {OWN_VOCAB: tokenizer.vocab_size}, codecs | {SOURCE: tokenizer}
    return Prepared(
        field,
        {field: Field((length,), "int32", ("positions",), fill=tokenizer.pad_id)},
        encode,
        [length, tokenizer.fingerprint, keep_end],
        sizes={"vocab": shared.vocab_size} | sizes,
        lengths=pair_lengths(config),
        special=dict(shared.special) | {PAD: tokenizer.pad_id},
        codecs=codecs,
    )


def prepare_target(read: Read, tokenizer: Tokenizer, length: int) -> Prepared:
    """Returns the column of targets, whose array is ``tokens``, int32 ``[T]``.

    A target that is cut has no end, so that none is learned in its middle.

    Args:
        read: Returns the target of an example.
        tokenizer: Makes tokens of it.
        length: Length of a row, T.
    """

    def encode(examples: list[Example]) -> Encoded:
        ids = tokenizer.encode_batch([read(example) for example in examples])
        rows = [end_row(own, length, tokenizer) for own in ids]
        sizes = np.array([len(own) + 1 for own in ids], np.int64)
        kept, is_cut = np.minimum(sizes, length), sizes > length
        counts = {
            "target_tokens": int(kept.sum()),
            "cut_targets": int(is_cut.sum()),
        }
        array = stack_rows(rows, length, tokenizer)
        return Encoded({"tokens": array}, counts, targets=kept)

    return Prepared(
        TARGET,
        {"tokens": Field((length,), "int32", ("positions",), fill=tokenizer.pad_id)},
        encode,
        [length, tokenizer.fingerprint],
    )


def first_text(value: Any) -> str:
    """Returns the text that is learned, of one or several.

    Examples:
        >>> first_text("a"), first_text(("b", "c"))
        ('a', 'b')
    """
    return value if isinstance(value, str) else value[0]


def end_row(ids: np.ndarray, length: int, tokenizer: Tokenizer) -> np.ndarray:
    """Returns a text as a row of targets: its tokens, eos, padding."""
    row = np.full(length, tokenizer.pad_id, np.int32)
    content = np.append(ids, tokenizer.eos_id)[:length]
    row[: len(content)] = content
    return row


def stack_rows(
    rows: Sequence[np.ndarray], length: int, tokenizer: Tokenizer
) -> np.ndarray:
    """Returns rows as one array ``[R length]``, of the smallest type that fits."""
    stored = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    return np.array(rows, stored).reshape(len(rows), length)
