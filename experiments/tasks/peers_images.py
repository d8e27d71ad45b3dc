"""The textbook's perceptron of configs/mnist_mlp.py in NumPy."""

from functools import partial
from typing import Any

import numpy as np
from images import read_images

WIDTH, CLASSES = 128, 10
RATE, MOMENTUM, BATCH, EPOCHS = 1e-3, 0.9, 64, 10


def train_perceptron(
    sources: tuple[str, ...], seed: int, *, relu: bool
) -> dict[str, Any]:
    """Returns accuracy and macro F1 of a perceptron that is trained by momentum."""
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
    note = f"NumPy {np.__version__}"
    found = {"accuracy": float(np.mean(labels == predicted)), "note": note}
    return found | {"macro_f1": macro_f1(labels, predicted), "num_test": len(labels)}


def macro_f1(right: np.ndarray, predicted: np.ndarray) -> float:
    """Returns the mean of the classes' F1 scores."""
    scores = []
    for label in np.unique(right):
        hits = np.sum((right == label) & (predicted == label))
        total = np.sum(right == label) + np.sum(predicted == label)
        scores.append(2 * hits / total)
    return float(np.mean(scores))


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


BOTH = {
    "numpy": partial(train_perceptron, relu=False),
    "numpy-relu": partial(train_perceptron, relu=True),
}
PEERS = {"mnist": BOTH, "fashion": BOTH}
