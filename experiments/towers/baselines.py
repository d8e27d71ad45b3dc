"""Simple peers on the examples of run.py, written to results/.

Run: pip install 'slimjax[tasks,peers,images]', then
    python experiments/towers/baselines.py [--study=stamps] [--seed=0] [--data=data]

Without --study and --seed all peers of all seeds are computed, those that are there
left alone. Where the split is the data's own, one seed says all.

| study | peer | what it is |
|---|---|---|
| questions | `question` | the most frequent answer to the same question in training |
| questions | `majority` | the most frequent answer |
| digits | `svm` | support vectors, radial basis, on pixels |
| clothes | `lr` | logistic regression on pixels |
| stamps | `majority` | the most frequent class |
| stamps | `histogram` | logistic regression on a histogram of 4 x 4 x 4 colours |
| translation | `copies` | the translation of the same caption in training, if any |
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from arms import STUDIES
from PIL import Image
from run import RESULTS, describe_answers, result_path
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from splits import read_images, read_rows

OWN_SPLITS = ("questions", "clothes")
"""Studies whose data have a test split of their own."""

Peer = Callable[[int, Path], dict[str, Any]]
"""From a seed and the data to metrics on the test split."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Peers of towers")
    parser.add_argument("--study", choices=STUDIES, action="append", help="or several")
    parser.add_argument("--seed", type=int, default=None, help="default: all")
    parser.add_argument("--data", type=Path, default=Path("data"))
    flags = parser.parse_args()
    for study in flags.study or PEERS:
        for seed in list_seeds(study) if flags.seed is None else [flags.seed]:
            for name, peer in PEERS.get(study, {}).items():
                answer(study, name, peer, seed, flags.data)


def list_seeds(study: str) -> range:
    """Returns the seeds of a study's peers, which draw nothing but the split."""
    return range(1 if study in OWN_SPLITS else STUDIES[study].num_seeds)


def answer(study: str, name: str, peer: Peer, seed: int, data: Path) -> None:
    """Computes a peer, unless its result is there."""
    path = result_path(study, name, seed)
    if path.exists():
        return
    start = time.perf_counter()
    result = {"study": study, "arm": name, "seed": seed} | peer(seed, data)
    result |= {"seconds": time.perf_counter() - start}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result) + "\n")
    print(path.stem, result.get("accuracy"), flush=True)


def score(expected: list[str], answers: list[str]) -> dict[str, Any]:
    """Returns accuracy, and what is kept of each example."""
    rows = zip(answers, expected, strict=True)
    lines = [{"prediction": a, "expected": {"answer": e}} for a, e in rows]
    right = [a == e for a, e in zip(answers, expected, strict=True)]
    return {"accuracy": float(np.mean(right))} | describe_answers("accuracy", lines)


def ask_questions(seed: int, data: Path, *, by_text: bool) -> dict[str, Any]:
    """Answers with the most frequent answer, to the same question or to all."""
    known: dict[str, Counter] = defaultdict(Counter)
    for row in read_rows("questions", seed, data, "train"):
        known[row["question"]][row["answer"]] += 1
        known[""][row["answer"]] += 1
    tested = read_rows("questions", seed, data, "test")
    key = lambda row: row["question"] if by_text and row["question"] in known else ""
    answers = [known[key(row)].most_common(1)[0][0] for row in tested]
    return score([row["answer"] for row in tested], answers)


def fit_pixels(seed: int, data: Path, *, data_set: str) -> dict[str, Any]:
    """Fits support vectors to digits, or logistic regression to clothes."""
    (images, labels), (others, expected) = (
        read_images(data_set, seed, data, split) for split in ("train", "test")
    )
    if data_set == "digits":
        model = SVC(C=5, gamma="scale")
    else:
        logistic = LogisticRegression(C=0.01, max_iter=1_000)
        model = make_pipeline(StandardScaler(), logistic)
    answers = model.fit(images, labels).predict(others)
    return score([str(label) for label in expected], [str(a) for a in answers])


def name_stamps(seed: int, data: Path, *, by_colour: bool) -> dict[str, Any]:
    """Answers with the most frequent class, or by the colours of a picture."""
    rows, tested = (read_rows("stamps", seed, data, s) for s in ("train", "test"))
    classes, expected = ([row["label"] for row in part] for part in (rows, tested))
    if not by_colour:
        (most, _), *_ = Counter(classes).most_common(1)
        return score(expected, [most] * len(expected))
    count = lambda part: np.array([count_colours(data, row["image"]) for row in part])
    model = LogisticRegression(C=10, max_iter=2_000)
    return score(expected, list(model.fit(count(rows), classes).predict(count(tested))))


def count_colours(data: Path, name: str) -> np.ndarray:
    """Returns the parts of a picture on white that have each of 64 colours."""
    with Image.open(data / "stamps" / name) as image:
        whole = image.convert("RGBA").resize((48, 48))
    white = Image.new("RGBA", whole.size, "white")
    pixels = np.asarray(Image.alpha_composite(white, whole).convert("RGB")) // 64
    codes = pixels.reshape(-1, 3).astype(int) @ (16, 4, 1)
    return np.sqrt(np.bincount(codes, minlength=64) / len(codes))


def copy_translations(seed: int, data: Path) -> dict[str, Any]:
    """Answers with what training has for the same caption; else with nothing."""
    rows, tested = (read_rows("pairs", seed, data, s) for s in ("train", "test"))
    known = {row["source"]: row["target"] for row in rows}
    lines = [
        {"prediction": known.get(row["source"], ""), "expected": {"": row["target"]}}
        for row in tested
    ]
    seen = np.mean([row["source"] in known for row in tested])
    return describe_answers("chrf", lines) | {"seen_in_training": float(seen)}


PEERS: dict[str, dict[str, Peer]] = {
    "questions": {
        "question": lambda seed, data: ask_questions(seed, data, by_text=True),
        "majority": lambda seed, data: ask_questions(seed, data, by_text=False),
    },
    "digits": {"svm": lambda seed, data: fit_pixels(seed, data, data_set="digits")},
    "clothes": {"lr": lambda seed, data: fit_pixels(seed, data, data_set="clothes")},
    "stamps": {
        "majority": lambda seed, data: name_stamps(seed, data, by_colour=False),
        "histogram": lambda seed, data: name_stamps(seed, data, by_colour=True),
    },
    "translation": {"copies": copy_translations},
}


if __name__ == "__main__":
    main()
