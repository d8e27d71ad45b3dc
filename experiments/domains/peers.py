"""Logistic regression: on tf-idf of words, and on vectors of MiniLM as it comes.

Run: pip install -e '.[tasks]', then
    python experiments/domains/peers.py [--data=runs/domains/data]

| peer | trained on | reads |
|---|---|---|
| `lr-pooled` | source and target examples | tf-idf of words and pairs of words |
| `lr-target` | target examples | the same |
| `lr-minilm` | source and target examples | vectors of all-MiniLM-L6-v2 as it is |
"""

import argparse
import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tasks"))
from arms import ALL, SOURCE, TARGET
from reviews import Row, read_rows
from run import keep, name_of, result_path

SEEDS = (0, 1, 2)
PEERS = ("lr-pooled", "lr-target", "lr-minilm")
VECTORS: dict[str, np.ndarray] = {}
"""Those of MiniLM that are known, by text."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Peers of the domains")
    parser.add_argument("--data", type=Path, default=Path("runs/domains/data"))
    data = parser.parse_args().data
    for name in PEERS:
        for seed in SEEDS:
            for k in (*ALL, 2000):
                if k or name != "lr-target":
                    classify(name, k, seed, data)


def classify(name: str, k: int, seed: int, data: Path) -> None:
    """Computes a peer, unless its result is there."""
    path = result_path(name_of(name, k), seed)
    if path.exists():
        return
    train = read_rows(data, TARGET, "train", seed, k) if k else []
    if name != "lr-target":
        train = train + read_rows(data, SOURCE, "train", seed)
    test = read_rows(data, TARGET, "test", seed)
    if name == "lr-minilm":
        found = answer_by_vectors(train, test, data)
    else:
        found = answer_by_words(train, test)
    right = [row["label"] == one for row, one in zip(test, found, strict=True)]
    result = {"arm": name, "k": k, "seed": seed}
    result |= {"accuracy": sum(right) / len(right)}
    keep(path, result | {"right": "".join(map(str, map(int, right)))})


def answer_by_words(train: list[Row], test: list[Row]) -> list[str]:
    """Returns the answers of logistic regression on tf-idf."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=4, max_iter=1_000))
    model.fit([row["text"] for row in train], [row["label"] for row in train])
    return list(model.predict([row["text"] for row in test]))


def answer_by_vectors(train: list[Row], test: list[Row], data: Path) -> list[str]:
    """Returns the answers of logistic regression on vectors of MiniLM."""
    from sklearn.linear_model import LogisticRegression

    read = lambda rows: vectors_of([row["text"] for row in rows], data)
    model = LogisticRegression(C=10, max_iter=2_000)
    model.fit(read(train), [row["label"] for row in train])
    return list(model.predict(read(test)))


def vectors_of(texts: list[str], data: Path) -> np.ndarray:
    """Returns a vector of length 1 for each text, ``[N D]``; each is computed once."""
    fresh = [text for text in dict.fromkeys(texts) if text not in VECTORS]
    if fresh:
        found = open_minilm(data).vectors(fresh)
        VECTORS.update(zip(fresh, found, strict=True))
    return np.stack([VECTORS[text] for text in texts])


@functools.cache
def open_minilm(data: Path) -> Any:
    """Returns MiniLM; the first call makes its run folder."""
    from minilm import make_folder

    import slimjax

    return slimjax.load(make_folder(data))


if __name__ == "__main__":
    main()
