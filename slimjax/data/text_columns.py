"""How texts of an example become rows of tokens."""

from collections.abc import Callable
from typing import Any

import numpy as np

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Field
from slimjax.data.encoding import Encoded, Prepared
from slimjax.data.tokenizer import Ids, Tokenizer
from slimjax.data.tokens import SEPARATORS, begin_row
from slimjax.text.examples import Example


def encode_row(tokenizer: Tokenizer, ids: Ids, seq_len: int) -> Ids:
    """Returns a text as a row: bos if rows begin with it, its tokens, eos, padding.

    Args:
        tokenizer: Its special ids are taken.
        ids: The tokens of the text; those that do not fit are cut off.
        seq_len: Length of the row, T.
    """
    row = np.full(seq_len, tokenizer.pad_id, np.int32)
    kept = ids[: max(seq_len - 2, 0)]
    ends = (begin_row(tokenizer), kept, [tokenizer.eos_id])
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

    def encode(examples: list[Example]) -> Encoded:
        texts = [example.values[name] for example in examples]
        rows = np.empty((len(texts), seq_len), stored_type(tokenizer))
        lengths = np.zeros(len(texts), np.int64)
        for i, ids in enumerate(tokenizer.encode_batch(texts)):
            rows[i] = encode_row(tokenizer, ids, seq_len)
            lengths[i] = len(ids) + 2
        is_cut, tokens = lengths > seq_len, np.minimum(lengths, seq_len)
        counts = {"tokens": int(tokens.sum()), "cut": int(is_cut.sum())}
        return Encoded({"tokens": rows}, counts, is_cut=is_cut)

    return prepare_tokens(tokenizer, config, encode)


def prepare_pair(
    names: tuple[str, str], tokenizer: Tokenizer, config: DataConfig
) -> Prepared:
    """Returns the column of two texts, whose array is ``tokens``, int32 ``[T]``.

    Args:
        names: The task's names of the texts. An example may lack the second.
        tokenizer: Makes tokens of them.
        config: Knows the length of a row.
    """
    seq_len, num_ends = config.seq_len, 2 + tokenizer.special.get(SEPARATORS, 1)

    def encode(examples: list[Example]) -> Encoded:
        has_pair = [names[1] in example.values for example in examples]
        texts = [[example.values.get(n, "") for example in examples] for n in names]
        rows = np.empty((len(examples), seq_len), stored_type(tokenizer))
        lengths = np.zeros(len(examples), np.int64)
        pairs = zip(*map(tokenizer.encode_batch, texts), strict=True)
        for i, (first, second) in enumerate(pairs):
            if not has_pair[i]:
                rows[i] = encode_row(tokenizer, first, seq_len)
                lengths[i] = len(first) + 2
                continue
            rows[i] = encode_pair(tokenizer, first, second, seq_len)
            lengths[i] = len(first) + len(second) + num_ends
        is_cut, tokens = lengths > seq_len, np.minimum(lengths, seq_len)
        counts = {"tokens": int(tokens.sum()), "cut": int(is_cut.sum())}
        return Encoded({"tokens": rows}, counts, is_cut=is_cut)

    return prepare_tokens(tokenizer, config, encode, "pair")


def encode_pair(tokenizer: Tokenizer, first: Ids, second: Ids, seq_len: int) -> Ids:
    """Returns two texts as a row: bos, the first, eos, the second, eos, padding.

    Imported tokenizers may want several eos between the texts, as that of RoBERTa does.

    Args:
        tokenizer: Its special ids are taken.
        first: The tokens of the first text.
        second: Those of the second. What does not fit is cut off at the ends, of the
            longer text first.
        seq_len: Length of the row, T.
    """
    between = [tokenizer.eos_id] * tokenizer.special.get(SEPARATORS, 1)
    room = max(seq_len - 2 - len(between), 0)
    of_first = max(room - len(second), min(len(first), (room + 1) // 2))
    first = first[:of_first]
    second = second[: room - len(first)]
    bos, eos = [tokenizer.bos_id], [tokenizer.eos_id]
    content = np.concatenate([bos, first, between, second, eos])[:seq_len]
    row = np.full(seq_len, tokenizer.pad_id, np.int32)
    row[: len(content)] = content
    return row


def prepare_tokens(
    tokenizer: Tokenizer,
    config: DataConfig,
    encode: Callable[[list[Example]], Encoded],
    *fingerprint: Any,
    **more: Any,
) -> Prepared:
    """Returns a column whose main array is ``tokens``, int32 ``[T]``.

    Args:
        tokenizer: Makes the tokens.
        config: Knows the length of a row.
        encode: From examples to arrays.
        *fingerprint: What `encode` depends on, beside length and tokenizer.
        **more: Of `Prepared`: ``check``; or ``fields``, ``sizes`` and ``codecs`` beside
            those of tokens.
    """
    seq_len = config.seq_len
    field = Field((seq_len,), "int32", ("positions",), fill=tokenizer.pad_id)
    own: dict[str, Any] = {
        "fields": {"tokens": field},
        "sizes": {"vocab": tokenizer.vocab_size},
        "codecs": {"tokens": tokenizer},
    }
    merged = {name: part | more.pop(name, {}) for name, part in own.items()}
    return Prepared(
        "tokens",
        encode=encode,
        fingerprint=[seq_len, tokenizer.fingerprint, *fingerprint],
        lengths={"": seq_len},
        special=tokenizer.special,
        **merged,
        **more,
    )


def stored_type(tokenizer: Tokenizer) -> type[np.unsignedinteger]:
    """Returns the type in which tokens are stored."""
    return np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
