"""Words of a text: letters, numbers and signs, or given tokens.

Languages without spaces between words have one character for each word.
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

_WIDE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
_SPACE, _LETTER, _DIGIT, _OTHER = range(4)


class Words(NamedTuple):
    """The words of a text.

    Attributes:
        texts: Each with the space before it, if there is one.
        spans: Start and end of each in the text, or its number and the next one.
    """

    texts: list[str]
    spans: list[tuple[int, int]]


def split_text(text: str) -> Words:
    """Returns the words of a text: letters, digits, or any other character.

    Examples:
        >>> split_text("No 7, 北京").texts
        ['No', ' 7', ',', ' 北', '京']
    """
    texts, spans, place = [], [], 0
    after_space = False
    for sort, group in itertools.groupby(text, _sort):
        size = len(list(group))
        step = size if sort in (_LETTER, _DIGIT) else 1
        for start in range(place, place + size, step) if sort != _SPACE else ():
            spans.append((start, start + step))
            word = text[start : start + step]
            texts.append(f" {word}" if after_space and start == place else word)
        place, after_space = place + size, sort == _SPACE
    return Words(texts, spans)


def join_tokens(tokens: Sequence[str]) -> Words:
    """Returns given tokens as words; wide characters have no spaces beside them.

    Examples:
        >>> join_tokens(["in", "Paris", "北", "京"]).texts
        ['in', ' Paris', '北', '京']
    """
    texts, before = [], ""
    for token in tokens:
        is_joined = not before or _is_wide(before[-1]) or _is_wide(token[0])
        texts.append(token if is_joined else f" {token}")
        before = token
    return Words(texts, [(i, i + 1) for i in range(len(tokens))])


@functools.lru_cache(maxsize=1 << 16)
def _sort(character: str) -> int:
    """Returns whether a character is space, part of a word or number, or neither."""
    if character.isspace():
        return _SPACE
    category = unicodedata.category(character)[0]
    if _is_wide(character) or category not in "LMN":
        return _OTHER
    return _DIGIT if category == "N" else _LETTER


def _is_wide(character: str) -> bool:
    """Whether a script has no spaces between words: Chinese, Japanese."""
    return _WIDE.match(character) is not None
