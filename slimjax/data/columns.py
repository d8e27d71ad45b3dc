"""How each kind of value of an example becomes an array of a batch."""

import numpy as np

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Field
from slimjax.data.encoding import Encoded, Prepared
from slimjax.data.labels import Labels
from slimjax.data.scaling import Scaling, fits_bytes
from slimjax.data.tokenizer import Ids, Tokenizer
from slimjax.text.examples import Example
from slimjax.text.reading import BadDocument

NO_LABEL = -1
"""Number of the class of rows that only fill up a batch."""


def encode_row(tokenizer: Tokenizer, ids: Ids, seq_len: int) -> Ids:
    """Returns a text as a row: bos, its tokens, eos, padding.

    Args:
        tokenizer: Its special ids are taken.
        ids: The tokens of the text; those that do not fit are cut off.
        seq_len: Length of the row, T.
    """
    row = np.full(seq_len, tokenizer.pad_id, np.int32)
    kept = ids[: max(seq_len - 2, 0)]
    ends = ([tokenizer.bos_id], kept, [tokenizer.eos_id])
    content = np.concatenate(ends)[:seq_len]
    row[: len(content)] = content
    return row


def prepare_text(name: str, tokenizer: Tokenizer, config: DataConfig) -> Prepared:
    """Returns the column of a text, whose array is ``tokens``, int32 ``[T]``.

    Args:
        name: The task's name of the text.
        tokenizer: Makes tokens of it.
        config: Knows the length of a row.
    """
    seq_len = config.seq_len
    stored = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32

    def encode(examples: list[Example]) -> Encoded:
        texts = [example.values[name] for example in examples]
        rows = np.empty((len(texts), seq_len), stored)
        lengths = np.zeros(len(texts), np.int64)
        for i, ids in enumerate(tokenizer.encode_batch(texts)):
            rows[i] = encode_row(tokenizer, ids, seq_len)
            lengths[i] = len(ids) + 2
        is_cut, tokens = lengths > seq_len, np.minimum(lengths, seq_len)
        counts = {"tokens": int(tokens.sum()), "cut": int(is_cut.sum())}
        return Encoded({"tokens": rows}, counts, is_cut=is_cut)

    field = Field((seq_len,), "int32", ("positions",), fill=tokenizer.pad_id)
    return Prepared(
        "tokens",
        {"tokens": field},
        encode,
        [seq_len, tokenizer.fingerprint],
        sizes={"vocab": tokenizer.vocab_size},
        lengths={"": seq_len},
        special=tokenizer.special,
        codecs={"tokens": tokenizer},
    )


def prepare_label(name: str, labels: Labels) -> Prepared:
    """Returns the column of a label, whose array is an int32 number of a class."""

    def encode(examples: list[Example]) -> Encoded:
        numbers = [labels.encode(example.values[name]) for example in examples]
        return Encoded({name: np.array(numbers, np.int32)})

    return Prepared(
        name,
        {name: Field((), "int32", (), fill=NO_LABEL)},
        encode,
        labels.fingerprint,
        sizes={"classes": len(labels)},
        codecs={name: labels},
    )


def prepare_features(
    name: str, examples: list[Example], scaling: Scaling, note: str = ""
) -> Prepared:
    """Returns the column of numbers, whose array is float32 ``[F]``.

    Whole numbers from 0 to 255 are stored as bytes.

    Args:
        name: The task's name of the numbers.
        examples: All examples that are there already; numbers of those to come are
            stored as float32 if there are none.
        scaling: How many numbers each must have, and how they are scaled.
        note: What a user should know of the scaling, or "".
    """
    are_bytes = bool(examples) and all(fits_bytes(e.values[name]) for e in examples)
    stored = np.uint8 if are_bytes else np.float32

    def check(example: Example) -> BadDocument | None:
        if (size := len(example.values[name])) == scaling.size:
            return None
        problem = f"has {size} numbers; the first example has {scaling.size}."
        return example.bad("wrong_columns", problem)

    def encode(examples: list[Example]) -> Encoded:
        rows = [example.values[name] for example in examples]
        return Encoded({name: np.array(rows, stored).reshape(len(rows), scaling.size)})

    shape, (scale, shift) = (scaling.size,), (scaling.scale, scaling.shift)
    return Prepared(
        name,
        {name: Field(shape, "float32", (None,), scale=scale, shift=shift)},
        encode,
        [are_bytes, scaling.fingerprint],
        check=check,
        sizes={"features": scaling.size},
        codecs={name: scaling},
        note=note,
    )
