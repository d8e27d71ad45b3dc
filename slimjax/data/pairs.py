"""Texts and what is to be written for them: rows of a source, and rows of a target.

The array ``source`` has bos, the text, eos and padding; ``tokens``, the target, has the
text, eos and padding. Both have one tokenizer, or each its own. Of several targets of
an example the first is the one that is learned; all are references for metrics.
"""

import dataclasses
from collections.abc import Sequence
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
    columns = [prepare_source(SOURCE, source, target, config)]
    if TARGET in material.kinds:
        columns.append(prepare_target(TARGET, target, target_length(config)))
    return columns


def target_length(config: DataConfig) -> int:
    """Returns the positions of a row of targets."""
    return config.target_len or config.seq_len


def prepare_source(
    name: str, tokenizer: Tokenizer, shared: Tokenizer, config: DataConfig
) -> Prepared:
    """Returns the column of sources, int32 ``[S]``.

    Args:
        name: The task's name of the text.
        tokenizer: Makes tokens of it.
        shared: The tokenizer of targets, perhaps the same.
        config: Knows the length of a row.
    """
    length, is_own = config.seq_len, tokenizer is not shared

    def encode(examples: list[Example]) -> Encoded:
        ids = tokenizer.encode_batch([example.values[name] for example in examples])
        rows = [encode_row(tokenizer, own, length) for own in ids]
        sizes = np.array([len(own) + 2 for own in ids], np.int64)
        counts = {
            "tokens": int(np.minimum(sizes, length).sum()),
            "cut": int((sizes > length).sum()),
        }
        array = stack_rows(rows, length, tokenizer)
        return Encoded({SOURCE: array}, counts, is_cut=sizes > length)

    sizes, codecs = {}, {"tokens": shared}
    if is_own:
        sizes, codecs = {OWN_VOCAB: tokenizer.vocab_size}, codecs | {SOURCE: tokenizer}
    return Prepared(
        SOURCE,
        {SOURCE: Field((length,), "int32", ("positions",), fill=tokenizer.pad_id)},
        encode,
        [length, tokenizer.fingerprint],
        sizes={"vocab": shared.vocab_size} | sizes,
        lengths={SOURCE: length},
        special=dict(shared.special) | {PAD: tokenizer.pad_id},
        codecs=codecs,
    )


def prepare_target(name: str, tokenizer: Tokenizer, length: int) -> Prepared:
    """Returns the column of targets, whose array is ``tokens``, int32 ``[T]``.

    A target that is cut has no end, so that none is learned in its middle.

    Args:
        name: The task's name of the text, or texts.
        tokenizer: Makes tokens of it.
        length: Length of a row, T.
    """

    def encode(examples: list[Example]) -> Encoded:
        texts = [first_text(example.values[name]) for example in examples]
        ids = tokenizer.encode_batch(texts)
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
        lengths={"": length},
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
