"""Which tokens continue the word of the token before, by the bytes they stand for.

Letters and digits that follow each other are one word. Chinese and Japanese characters
are each a word of their own, since such texts have no spaces.
"""

import unicodedata

import numpy as np
from jaxtyping import Bool, Int

from slimjax.data.dataset import Dataset, Field
from slimjax.data.tokenizer import Tokenizer

JOINED = "joined"
"""Name of the field: 1 where a token goes on with the word before it, int32 ``[T]``."""

_OWN_WORDS = ("CJK", "HIRAGANA", "KATAKANA")


class JoinedRows:
    """Rows of tokens as rows of 0 and 1, computed when they are read.

    Attributes:
        rows: Tokens, ``[R T]``.
        begins: Whether a token may go on with a word, ``[V]``.
        ends: Whether the next token may go on with its last word, ``[V]``.
    """

    def __init__(
        self, rows: np.ndarray, begins: Bool[np.ndarray, " V"], ends: np.ndarray
    ):
        """Keeps the rows, which may be a memory map."""
        self.rows, self.begins, self.ends = rows, begins, ends

    def __len__(self) -> int:
        """Returns the number of rows, R."""
        return len(self.rows)

    def __getitem__(self, numbers: Int[np.ndarray, " B"]) -> Bool[np.ndarray, "B T"]:
        """Returns the rows of these numbers."""
        tokens = np.asarray(self.rows[numbers])
        joined = np.zeros(tokens.shape, bool)
        joined[..., 1:] = self.begins[tokens[..., 1:]] & self.ends[tokens[..., :-1]]
        return joined


def add_words(dataset: Dataset) -> tuple[dict, dict]:
    """Returns the splits and fields of a dataset of tokens, with those of `JOINED`."""
    begins, ends = find_word_parts(dataset.tokenizer)
    splits = {
        split: {**arrays, JOINED: JoinedRows(arrays["tokens"], begins, ends)}
        for split, arrays in dataset.splits.items()
    }
    return splits, {**dataset.fields, JOINED: joined_field(dataset.lengths[""])}


def joined_field(seq_len: int) -> Field:
    """Returns what the array `JOINED` is in a batch."""
    return Field((seq_len,), "int32", ("positions",))


def find_word_parts(
    tokenizer: Tokenizer,
) -> tuple[Bool[np.ndarray, " V"], Bool[np.ndarray, " V"]]:
    """Returns which tokens may go on with a word, and which leave one open.

    Args:
        tokenizer: Its tokens are looked at one by one.

    Examples:
        >>> from slimjax.data.byte_tokenizer import BytesTokenizer
        >>> begins, ends = find_word_parts(BytesTokenizer())
        >>> [bool(begins[3 + byte]) for byte in b"a "], bool(ends[3 + ord("a")])
        ([True, False], True)
    """
    pieces = [tokenizer.decode_bytes([i]) for i in range(tokenizer.vocab_size)]
    begins = np.array([_goes_on(piece) for piece in pieces], bool)
    ends = np.array([_leaves_open(piece) for piece in pieces], bool)
    return begins, ends


def _goes_on(piece: bytes) -> bool:
    """Whether bytes begin within a character, or with a letter of a word.

    A first byte of two, alone, is taken for a letter: of Greek, Cyrillic, Arabic, ...
    """
    if piece and 0x80 <= piece[0] < 0xC0:
        return True
    if len(piece) == 1 and 0xC0 <= piece[0] < 0xE0:
        return True
    return _is_letter(piece.decode("utf-8", "ignore")[:1])


def _leaves_open(piece: bytes) -> bool:
    """Whether bytes end within a character, or with a letter of a word."""
    lead = next((i for i in range(len(piece)) if piece[~i] & 0xC0 != 0x80), None)
    if lead is None:
        return bool(piece)
    first = piece[~lead]
    width = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if lead + 1 < width:
        return True
    return _is_letter(piece[~lead:].decode("utf-8", "ignore")[:1])


def _is_letter(character: str) -> bool:
    """Whether a character is a letter, mark or digit of a script with spaces."""
    if not character or unicodedata.category(character)[0] not in "LMN":
        return False
    return not unicodedata.name(character, "").startswith(_OWN_WORDS)
