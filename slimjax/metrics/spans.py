"""Exact match and F1 of answers, as SQuAD counts them, for Chinese too."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

ARTICLES = re.compile(r"\b(a|an|the)\b")
WIDE = re.compile(
    r"[\u2e80-\u2fdf\u3005-\u3007\u3041-\u3096\u30a1-\u30ff"
    r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Characters that are words by themselves: Chinese and Japanese."""

KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30ff]")
"""Those of Japanese alone."""


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """Returns 1 if the prediction is one of the answers, else 0.

    Case, punctuation, articles and spaces do not count. Without answers the right
    prediction is empty.

    References:
        Rajpurkar, Jia and Liang, "Know What You Don't Know: Unanswerable Questions for
        SQuAD", 2018.

    Examples:
        >>> exact_match("The Eiffel Tower!", ["eiffel tower"]), exact_match("", [])
        (1.0, 1.0)
    """
    same = lambda answer: float(answer_tokens(prediction) == answer_tokens(answer))
    return _best(same, answers)


def answer_f1(prediction: str, answers: Sequence[str]) -> float:
    """Returns the highest F1 of words shared with an answer.

    A Chinese character counts as a word, as in CMRC 2018.

    Examples:
        >>> round(answer_f1("in the old town", ["the town"]), 3)  # 1 of 3, 1 of 1
        0.5
    """
    return _best(lambda answer: _f1(prediction, answer), answers)


def answer_tokens(text: str) -> list[str]:
    """Returns the words that count, in lower case.

    Examples:
        >>> answer_tokens("The U.S. Senate"), answer_tokens("《三体》 2")
        (['us', 'senate'], ['三', '体', '2'])
    """
    is_wide = WIDE.search(text) is not None
    kept = "".join(c for c in text.lower() if not _is_punctuation(c, is_wide))
    return WIDE.sub(r" \g<0> ", ARTICLES.sub(" ", kept)).split()


def _best(score: Callable[[str], float], answers: Sequence[str]) -> float:
    """Returns the highest score of the answers that have a word; ``""`` without any."""
    counting = [answer for answer in answers if answer_tokens(answer)]
    return max(score(answer) for answer in counting or [""])


def _f1(prediction: str, answer: str) -> float:
    found, right = answer_tokens(prediction), answer_tokens(answer)
    if not found or not right:
        return float(found == right)
    shared = sum((Counter(found) & Counter(right)).values())
    return 2 * shared / (len(found) + len(right))


def _is_punctuation(char: str, is_wide: bool) -> bool:
    """Whether SQuAD's own script drops a character, or any Chinese one would."""
    if char.isascii():
        return char in string.punctuation
    return is_wide and unicodedata.category(char)[0] in "PS"


def answer_columns(
    predictions: Sequence[str], answers: Sequence[Sequence[str]]
) -> dict[str, np.ndarray]:
    """Returns the columns ``exact_match`` and ``answer_f1``, one entry per question."""
    pairs = list(zip(predictions, answers, strict=True))
    return {
        "exact_match": np.array([exact_match(*pair) for pair in pairs], np.float64),
        "answer_f1": np.array([answer_f1(*pair) for pair in pairs], np.float64),
    }
