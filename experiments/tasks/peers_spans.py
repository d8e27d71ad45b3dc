"""Peers for entities and answers in texts: majority, gazetteer, linear and a CRF."""

import itertools
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from sets import read_rows

from slimjax.metrics.entities import count_entities, entities_of
from slimjax.metrics.spans import answer_f1, exact_match

Row = dict[str, Any]
Tags = list[str]
LONGEST = 12
"""Tokens of the longest entity that a gazetteer looks for."""


def majority(sources: tuple[str, ...], _: int) -> dict[str, Any]:
    """Returns metrics of the most frequent tag of each token."""
    train, test = map(read_rows, sources)
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for row in train:
        for token, tag in zip(row["tokens"], row["tags"], strict=True):
            seen[token][tag] += 1
    best = {token: counts.most_common(1)[0][0] for token, counts in seen.items()}
    return score(test, [[best.get(t, "O") for t in row["tokens"]] for row in test])


def gazetteer(sources: tuple[str, ...], _: int) -> dict[str, Any]:
    """Returns metrics of looking up the entities of training, longest first."""
    train, test = map(read_rows, sources)
    names = collect_names(train)
    return score(test, [look_up(row["tokens"], names) for row in test])


def collect_names(rows: list[Row]) -> dict[tuple[str, ...], str]:
    """Returns entities and their types, if they are entities half of the time."""
    found: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for row in rows:
        for start, end, kind in entities_of(row["tags"]):
            found[tuple(row["tokens"][start:end])][kind] += 1
    found = {name: kinds for name, kinds in found.items() if len(name) <= LONGEST}
    times: Counter[tuple[str, ...]] = Counter()
    firsts = {name[0] for name in found}
    for row in rows:
        tokens = row["tokens"]
        for i in (i for i, token in enumerate(tokens) if token in firsts):
            spans = (tuple(tokens[i : i + n]) for n in range(1, LONGEST + 1))
            times.update(span for span in set(spans) if span in found)
    return {
        name: kinds.most_common(1)[0][0]
        for name, kinds in found.items()
        if 2 * sum(kinds.values()) >= times[name]
    }


def look_up(tokens: Sequence[str], names: dict[tuple[str, ...], str]) -> Tags:
    """Returns the tags of the names that are found, the longest at each place."""
    tags, i = ["O"] * len(tokens), 0
    while i < len(tokens):
        sizes = range(min(LONGEST, len(tokens) - i), 0, -1)
        size = next((n for n in sizes if tuple(tokens[i : i + n]) in names), 0)
        if size:
            kind = names[tuple(tokens[i : i + size])]
            tags[i : i + size] = [f"B-{kind}"] + [f"I-{kind}"] * (size - 1)
        i += max(size, 1)
    return tags


def field(
    sources: tuple[str, ...],
    seed: int,
    features: Callable[[list[str]], list],
    part: int,
) -> dict[str, Any]:
    """Returns metrics of a conditional random field with features of tokens.

    Args:
        sources: Of training and test.
        seed: Which lines are learned from, if not all.
        features: From the tokens of a line to names of features for each.
        part: One of so many training lines is used.
    """
    from pycrfsuite import Tagger, Trainer  # type: ignore[attr-defined]

    train, test = map(read_rows, sources)
    random.Random(seed).shuffle(train)
    trainer = Trainer(verbose=False)
    for row in train[::part]:
        trainer.append(features(row["tokens"]), row["tags"])
    trainer.set_params({"c1": 0.1, "c2": 0.01, "max_iterations": 60})
    path = f"{sources[0].removeprefix('jsonl:')}.crf"
    trainer.train(path)
    tagger = Tagger()
    tagger.open(path)
    found = score(test, [tagger.tag(features(row["tokens"])) for row in test])
    return found | {"num_train": len(train[::part]), "note": "python-crfsuite"}


def linear(
    sources: tuple[str, ...],
    seed: int,
    features: Callable[[list[str]], list],
    part: int,
) -> dict[str, Any]:
    """Returns metrics of a linear classifier of each token by itself; see `field`."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    train, test = map(read_rows, sources)
    random.Random(seed).shuffle(train)
    options: dict[str, Any] = dict(analyzer=list, binary=True, dtype=np.float32)
    model = make_pipeline(CountVectorizer(**options), LinearSVC(C=0.1))
    tokens = [own for row in train[::part] for own in features(row["tokens"])]
    model.fit(tokens, [tag for row in train[::part] for tag in row["tags"]])
    found = [model.predict(features(row["tokens"])).tolist() for row in test]
    own = {"num_train": len(train[::part]), "note": "scikit-learn, LinearSVC"}
    return score(test, found) | own


def of_words(tokens: list[str]) -> list[list[str]]:
    """Returns features of English words: the word, its parts, shape, neighbours."""
    return [list(_of_word(tokens, i)) for i in range(len(tokens))]


def _of_word(tokens: list[str], place: int) -> Iterator[str]:
    for shift in (-2, -1, 0, 1, 2):
        if not 0 <= place + shift < len(tokens):
            yield f"{shift}:end"
            continue
        word = tokens[place + shift]
        yield f"{shift}:word={word.lower()}"
        yield f"{shift}:shape={shape_of(word)}"
    word = tokens[place]
    for size in (1, 2, 3, 4):
        yield f"begins={word[:size].lower()}"
        yield f"ends={word[-size:].lower()}"
    if place > 0:
        yield f"pair={tokens[place - 1].lower()}|{word.lower()}"
    yield f"bias, {word.istitle()} {word.isupper()} {word[0] in '@#'}"


def shape_of(word: str) -> str:
    """Returns capitals, letters and digits of a word, each stretch once.

    Examples:
        >>> shape_of("iPhone-4S")
        'aAa-9A'
    """
    shape = re.sub("[A-Z]", "A", re.sub("[a-z]", "a", re.sub(r"\d", "9", word)))
    return re.sub(r"(.)\1+", r"\1", shape)


def of_characters(tokens: list[str]) -> list[list[str]]:
    """Returns features of Chinese characters: those near by, alone and in pairs."""
    around = ["<<", "<", *tokens, ">", ">>"]
    found = []
    for i in range(2, len(tokens) + 2):
        near = around[i - 2 : i + 3]
        one = [f"{k}={c}" for k, c in enumerate(near)]
        two = [f"{k}+={a}{b}" for k, (a, b) in enumerate(itertools.pairwise(near))]
        three = [f"{k}++={''.join(near[k : k + 3])}" for k in range(3)]
        found.append([*one, *two, *three])
    return found


def score(test: list[Row], predicted: list[Tags]) -> dict[str, Any]:
    """Returns the entity F1 of tags, and the accuracy of tags."""
    counts = [
        count_entities(entities_of(tags), entities_of(row["tags"]))
        for row, tags in zip(test, predicted, strict=True)
    ]
    hits, _, found, right = (sum(column) for column in zip(*counts, strict=True))
    tags = [
        one == other
        for row, own in zip(test, predicted, strict=True)
        for one, other in zip(row["tags"], own, strict=True)
    ]
    result = {"entity_f1": 2 * hits / max(found + right, 1)}
    result |= {"entity_precision": hits / max(found, 1), "entity_recall": hits / right}
    return result | {"tag_accuracy": sum(tags) / len(tags), "num_test": len(test)}


def answer_by_names(sources: tuple[str, ...], _: int) -> dict[str, Any]:
    """Returns metrics of the longest known answer to a question that is in the text."""
    train, test = map(read_rows, sources)
    known: dict[str, Counter[str]] = defaultdict(Counter)
    for row in train:
        known[row["question"]].update(row["answers"]["text"])
    times: dict[str, Counter[str]] = defaultdict(Counter)
    for row in train:
        own = known[row["question"]]
        times[row["question"]].update(n for n in own if n in row["context"])
    found = []
    for row in test:
        own, seen = known[row["question"]], times[row["question"]]
        names = [n for n in own if n in row["context"] and 2 * own[n] >= seen[n]]
        found.append(max(names, key=len, default=""))
    return _score_answers(test, found)


def answer_nothing(sources: tuple[str, ...], _: int) -> dict[str, Any]:
    """Returns metrics of saying that there is no answer."""
    test = read_rows(sources[1])
    return _score_answers(test, [""] * len(test))


def _score_answers(test: list[Row], found: list[str]) -> dict[str, Any]:
    pairs = [
        (text, row["answers"]["text"]) for text, row in zip(found, test, strict=True)
    ]
    mean = lambda of: sum(of(*pair) for pair in pairs) / len(pairs)
    result = {"answer_f1": mean(answer_f1), "exact_match": mean(exact_match)}
    return result | {"num_test": len(test)}


def _learned(features: Callable, part: int) -> dict[str, Callable]:
    return {
        "linear": lambda sources, seed: linear(sources, seed, features, part),
        "crf": lambda sources, seed: field(sources, seed, features, part),
    }


NAMES = {"majority": majority, "gazetteer": gazetteer}
ANSWERS = {"gazetteer": answer_by_names, "nothing": answer_nothing}
PEERS = {
    "ner": {**NAMES, **_learned(of_words, 1)},
    "ner-zh": {**NAMES, **_learned(of_characters, 2)},
    "spans": ANSWERS,
    "spans-zh": ANSWERS,
}
