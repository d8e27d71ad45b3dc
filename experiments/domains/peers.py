"""Logistic regression on tf-idf of words: pooled, and on target examples alone.

Run: pip install 'slimjax[tasks]', then
    python experiments/domains/peers.py [--data=runs/domains/data]
"""

import argparse
from pathlib import Path

from arms import ALL, SOURCE, TARGET
from reviews import read_rows
from run import keep, name_of, result_path

SEEDS = (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description="Peers of the domains")
    parser.add_argument("--data", type=Path, default=Path("runs/domains/data"))
    data = parser.parse_args().data
    for seed in SEEDS:
        for k in (*ALL, 2000):
            classify("lr-pooled", k, seed, data)
            if k:
                classify("lr-target", k, seed, data)


def classify(name: str, k: int, seed: int, data: Path) -> None:
    """Computes a peer, unless its result is there."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    path = result_path(name_of(name, k), seed)
    if path.exists():
        return
    train = read_rows(data, TARGET, "train", seed, k) if k else []
    if name == "lr-pooled":
        train = train + read_rows(data, SOURCE, "train", seed)
    test = read_rows(data, TARGET, "test", seed)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=4, max_iter=1_000))
    model.fit([row["text"] for row in train], [row["label"] for row in train])
    found = model.predict([row["text"] for row in test])
    right = [row["label"] == one for row, one in zip(test, found, strict=True)]
    result = {"arm": name, "k": k, "seed": seed}
    result |= {"accuracy": sum(right) / len(right)}
    keep(path, result | {"right": "".join(map(str, map(int, right)))})


if __name__ == "__main__":
    main()
