"""Simple peers on the examples of run.py, written to results/.

Run: pip install scikit-learn, then
    python experiments/tasks/baselines.py --study=movie [--seed=0] [--data=...]

- movie, r8: naive Bayes on counts of words, and of pairs of words for movie;
- zh: a linear support vector machine on one to three characters, tf-idf;
- mnist, fashion: the textbook's perceptron of configs/mnist_mlp.py in NumPy.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from images import read_images
from sets import STUDIES, make_split, read_texts

RESULTS = Path(os.path.relpath(Path(__file__).parent)) / "results"
WIDTH, CLASSES = 128, 10
RATE, MOMENTUM, BATCH, EPOCHS = 1e-3, 0.9, 64, 10


def main() -> None:
    parser = argparse.ArgumentParser(description="Peers of the tasks")
    parser.add_argument("--study", choices=STUDIES, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("runs/tasks/data"))
    flags = parser.parse_args()
    sources = make_split(flags.study, flags.seed, flags.data)
    peers = (
        {f"numpy{name}": name == "-relu" for name in ("", "-relu")}
        if flags.study in ("mnist", "fashion")
        else {"svm" if flags.study == "zh" else "naive-bayes": None}
    )
    for peer, relu in peers.items():
        path = RESULTS / f"{flags.study}-{peer}-seed{flags.seed}.json"
        if path.exists():
            continue
        start = time.perf_counter()
        if relu is None:
            right, predicted, note = classify_texts(flags.study, sources)
        else:
            right, predicted, note = train_perceptron(sources, flags.seed, relu)
        result = {"study": flags.study, "arm": peer, "seed": flags.seed, "note": note}
        result |= {"accuracy": float(np.mean(right == predicted))}
        result |= {"macro_f1": macro_f1(right, predicted), "num_test": len(right)}
        result |= {"seconds": time.perf_counter() - start}
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(path.stem, result["accuracy"], result["macro_f1"], flush=True)


def macro_f1(right: np.ndarray, predicted: np.ndarray) -> float:
    """Returns the mean of the classes' F1 scores."""
    scores = []
    for label in np.unique(right):
        hits = np.sum((right == label) & (predicted == label))
        total = np.sum(right == label) + np.sum(predicted == label)
        scores.append(2 * hits / total)
    return float(np.mean(scores))


def classify_texts(
    study: str, sources: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, str]:
    """Returns labels of the test texts, right and predicted, and what predicted."""
    import sklearn
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    train, test = (read_texts(source) for source in sources)
    if study == "zh":
        words = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
        model = make_pipeline(words, LinearSVC())
    else:
        longest = 2 if study == "movie" else 1
        words = CountVectorizer(ngram_range=(1, longest))
        model = make_pipeline(words, MultinomialNB())
    model.fit([text for text, _ in train], [label for _, label in train])
    predicted = model.predict([text for text, _ in test])
    note = f"scikit-learn {sklearn.__version__}"
    return np.array([label for _, label in test]), np.asarray(predicted), note


def train_perceptron(
    sources: tuple[str, ...], seed: int, relu: bool
) -> tuple[np.ndarray, np.ndarray, str]:
    """Returns labels of the test images, right and predicted, and what predicted."""
    rng = np.random.default_rng(seed)
    images, labels = read_images(sources, "train")
    images = ((images - 0.5) / 0.5).astype(np.float32)
    shapes = ((images.shape[1], WIDTH), (WIDTH, CLASSES))
    weights = [rng.normal(0, m**-0.5, (m, n)) for m, n in shapes]  # LeCun's.
    weights += [np.zeros(WIDTH), np.zeros(CLASSES)]
    weights = [w.astype(np.float32) for w in weights]
    speeds = [np.zeros_like(w) for w in weights]
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            grads = gradients(weights, images[rows], labels[rows], relu)
            for weight, speed, grad in zip(weights, speeds, grads, strict=True):
                speed *= MOMENTUM
                speed += grad
                weight -= RATE * speed
    images, labels = read_images(sources, "test")
    images = ((images - 0.5) / 0.5).astype(np.float32)
    predicted = np.argmax(forward(weights, images, relu)[1], axis=-1)
    return labels, predicted, f"NumPy {np.__version__}"


def forward(
    weights: list[np.ndarray], images: np.ndarray, relu: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns hidden units ``[N 128]`` and logits ``[N 10]``."""
    hidden = images @ weights[0] + weights[2]
    hidden = np.maximum(hidden, 0) if relu else hidden
    return hidden, hidden @ weights[1] + weights[3]


def gradients(
    weights: list[np.ndarray], images: np.ndarray, labels: np.ndarray, relu: bool
) -> list[np.ndarray]:
    """Returns the gradients of the mean cross entropy, in the order of `weights`."""
    hidden, logits = forward(weights, images, relu)
    chances = np.exp(logits - logits.max(axis=-1, keepdims=True))
    chances /= chances.sum(axis=-1, keepdims=True)
    chances[np.arange(len(labels)), labels] -= 1
    of_logits = chances / len(labels)
    of_hidden = of_logits @ weights[1].T
    of_hidden = of_hidden * (hidden > 0) if relu else of_hidden
    of_second = hidden.T @ of_logits
    return [images.T @ of_hidden, of_second, of_hidden.sum(0), of_logits.sum(0)]


if __name__ == "__main__":
    main()
