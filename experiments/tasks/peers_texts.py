"""Peers that write or find texts: search, translation, summaries."""

import re
from collections import defaultdict
from typing import Any

import numpy as np
from search_by_vectors import rank_of_right, score_ranks
from sets import read_rows

from slimjax.data.sentence_columns import split_sentences
from slimjax.metrics.texts import bleu, choose_tokenizer, count_bleu, score_rouge

Row = dict[str, Any]
LATIN = re.compile(r"[A-Za-z]+|\d+|[^\sA-Za-z\d]")
PART = 1_000
"""Test texts that are compared with all training texts at once."""


def search(sources: tuple[str, ...], _: int) -> dict[str, Any]:
    """Returns how well questions find answers by cosines of tf-idf."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    rows = read_rows(sources[-1])
    questions = [row["text"] for row in rows]
    answers = [row["text_pair"] for row in rows]
    words = TfidfVectorizer(sublinear_tf=True, stop_words="english")
    words.fit(questions + answers)
    scores = (words.transform(questions) @ words.transform(answers).T).toarray()
    # Equal scores, such as zeros, count against a question.
    scores = scores - 1e-9 * np.eye(len(rows))
    return score_ranks(rank_of_right(scores))


def copy(sources: tuple[str, ...], _: int) -> dict[str, Any]:
    """Returns metrics of the source in place of its translation."""
    test = read_rows(sources[1])
    return _score_bleu(test, [row["source"] for row in test])


def translate_nearest(sources: tuple[str, ...], _: int) -> dict[str, Any]:
    """Returns metrics of the translation of the nearest source of training."""
    train, test = map(read_rows, sources)
    places = find_nearest(train, test, "source")
    return _score_bleu(test, [train[i]["target"] for i in places])


def find_nearest(train: list[Row], test: list[Row], name: str) -> np.ndarray:
    """Returns the place of the nearest training text of each test text, by tf-idf."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    known: Any = words.fit_transform([row[name] for row in train])
    asked = words.transform([row[name] for row in test])
    parts = range(0, len(test), PART)
    found = [(asked[i : i + PART] @ known.T).toarray().argmax(1) for i in parts]
    return np.concatenate(found)


def translate_words(sources: tuple[str, ...], _: int) -> dict[str, Any]:
    """Returns metrics of translating word by word, in the order of the source.

    The dictionary is IBM's first model, five rounds over words and pieces of Chinese.
    """
    train, test = map(read_rows, sources)
    pairs = [(_words(row["source"]), _pieces(row["target"])) for row in train]
    table = align(pairs, rounds=5)
    best = {
        word: max(own, key=lambda other, own=own: own[other])
        for word, own in table.items()
    }
    found = ["".join(best.get(w, w) for w in _words(row["source"])) for row in test]
    return _score_bleu(test, found)


def align(
    pairs: list[tuple[list[str], list[str]]], rounds: int
) -> dict[str, dict[str, float]]:
    """Returns the probability of each target word, given a source word.

    References:
        Brown et al., "The Mathematics of Statistical Machine Translation", 1993.
    """
    chances: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(lambda: 1.0))
    for number in range(rounds):
        counts: dict = defaultdict(lambda: defaultdict(float))
        for sources, targets in pairs:
            for target in targets:
                own = [chances[s][target] for s in sources]
                total = sum(own)
                for source, chance in zip(sources, own, strict=True):
                    counts[source][target] += chance / total
        chances = {}
        for source, own in counts.items():
            total = sum(own.values())
            least = 0.0 if number < 2 else 1e-3 * total
            chances[source] = defaultdict(
                lambda: 1e-9, {t: c / total for t, c in own.items() if c >= least}
            )
    return chances


def _words(text: str) -> list[str]:
    return [word.lower() for word in LATIN.findall(text)]


def _pieces(text: str) -> list[str]:
    """Returns pairs of Chinese characters that do not overlap, and Latin words."""
    found = re.findall(r"[\u4e00-\u9fff]{1,2}|[A-Za-z]+|\d+|[^\s]", text)
    return [piece.lower() if piece.isascii() else piece for piece in found]


def _score_bleu(test: list[Row], found: list[str]) -> dict[str, Any]:
    right = [[row["target"]] for row in test]
    counts = count_bleu(found, right, choose_tokenizer(right))
    return {"bleu": float(bleu(counts.sum(0))), "num_test": len(test)}


def summarize(sources: tuple[str, ...], _: int, *, how: str) -> dict[str, Any]:
    """Returns ROUGE of a summary by rule: sentence, clause, nearest, or oracle."""
    train, test = map(read_rows, sources)
    names = ("source", "target") if "source" in test[0] else ("document", "summary")
    texts, right = ([row[name] for row in test] for name in names)
    sentences = [split_sentences(text) or [text] for text in texts]
    if how == "nearest":
        places = find_nearest(train, test, names[0])
        found = [train[i][names[1]] for i in places]
    elif how == "oracle":
        scored = [
            score_rouge(own, [[target]] * len(own))[:, 2]
            for own, target in zip(sentences, right, strict=True)
        ]
        found = [own[s.argmax()] for own, s in zip(sentences, scored, strict=True)]
    else:
        found = [own[0] for own in sentences]
        if how == "clause":
            found = [re.split(r"[,;:]|\. | which | that ", text)[0] for text in found]
    rouge = score_rouge(found, [[target] for target in right]).mean(0)
    scores = zip(("rouge1", "rouge2", "rougeL"), map(float, rouge), strict=True)
    return dict(scores) | {"num_test": len(test)}


def _rules(*names: str) -> dict[str, Any]:
    return {
        name: lambda *given, name=name: summarize(*given, how=name) for name in names
    }


PEERS = {
    "faq": {"tf-idf": search},
    "translate": {
        "copy": copy,
        "nearest": translate_nearest,
        "word-by-word": translate_words,
    },
    "summary": _rules("sentence", "clause", "nearest", "oracle"),
    "extract": _rules("sentence", "oracle"),
}
