"""Words and their pieces, in windows where a text is longer than a row.

A word's first piece answers for the word. Windows overlap, and each word is answered
in one of them only: the one in which it has more to both of its sides.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from slimjax.data.config import DataConfig
from slimjax.data.material import Material
from slimjax.data.tokenizer import Ids, Tokenizer
from slimjax.data.tokenizer_choice import choose_tokenizer
from slimjax.text.sample import PassageSample

OVERLAP = 4
"""A window shares a fourth of its pieces with the next one, if not said otherwise."""

NO_WORD = -1
"""Stands where no word is answered."""

_BREAK = "\0"  # No piece of a trained tokenizer crosses it.


def tokenizer_of_words(material: Material, texts: Iterable[Sequence[str]]) -> Tokenizer:
    """Returns the tokenizer of a dataset whose pieces are parts of words.

    Args:
        material: May have it already.
        texts: The words of each text of the train split.
    """
    if "tokens" in material.codecs:
        return material.codecs["tokens"]  # type: ignore[return-value]
    sample = PassageSample()
    for words in texts:
        sample.add(_BREAK.join(words), 0.0)
    passages = [passage for passage, _ in sample.passages()]
    return choose_tokenizer(
        material.config, passages, material.report, within_words=True
    )


def encode_words(tokenizer: Tokenizer, texts: Iterable[Sequence[str]]) -> list[list]:
    """Returns the pieces of each word of each text; a word has one or more."""
    texts = list(texts)
    known = sorted({word for words in texts for word in words})
    nothing = tokenizer.special.get("unk", tokenizer.eos_id)
    rows = tokenizer.encode_batch(known)
    some = [ids if len(ids) else np.array([nothing], np.int32) for ids in rows]
    pieces = dict(zip(known, some, strict=True))
    return [[pieces[word] for word in words] for words in texts]


class Window(NamedTuple):
    """A part of a text.

    Attributes:
        start: Its first word.
        end: The word after its last one.
        first: The first word that is answered in it.
        last: The word after the last such one.
    """

    start: int
    end: int
    first: int
    last: int


def cut_windows(
    sizes: Sequence[int], room: int, overlap: int = OVERLAP
) -> list[Window]:
    """Returns windows of at most `room` pieces, which overlap.

    Args:
        sizes: Pieces of each word, each 1 to `room`.
        room: Most pieces of a window.
        overlap: A window shares one of so many pieces with the next.

    Examples:
        >>> for window in cut_windows([1] * 5, 4):
        ...     print(*window)
        0 4 0 3
        3 5 3 5
    """
    before = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    num, start, ends = len(sizes), 0, []
    while True:
        end = int(np.searchsorted(before, before[start] + room, "right")) - 1
        ends.append((start, max(end, start + 1)))
        if end >= num:
            break
        back = int(np.searchsorted(before, before[end] - room // overlap, "left"))
        start = min(max(back, start + 1), end)
    middles = [
        (start + end) // 2 for (start, _), (_, end) in zip(ends[1:], ends, strict=False)
    ]
    firsts, lasts = [0, *middles], [*middles, num]
    return [
        Window(start, end, first, last)
        for (start, end), first, last in zip(ends, firsts, lasts, strict=True)
    ]


def row_of(
    tokenizer: Tokenizer, pieces: Sequence[Ids], window: Window, config: DataConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Returns tokens of a window, ``[T]``, and which word each one answers for.

    Args:
        tokenizer: Its special ids are taken.
        pieces: Those of each word of the text.
        window: The part of the text.
        config: Knows the length of a row.
    """
    own = pieces[window.start : window.end]
    row = np.full(config.seq_len, tokenizer.pad_id, np.int32)
    words = np.full(config.seq_len, NO_WORD, np.int32)
    bos, eos = [tokenizer.bos_id], [tokenizer.eos_id]
    content = np.concatenate([bos, *own, eos])
    row[: len(content)] = content
    places = 1 + np.cumsum([0, *(len(ids) for ids in own[:-1])])
    numbers = np.arange(window.start, window.start + len(own))
    answered = (numbers >= window.first) & (numbers < window.last)
    words[places[: len(own)][answered]] = numbers[answered]
    return row, words
