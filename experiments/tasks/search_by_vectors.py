"""Search in answers by vectors of MiniLM: nothing is trained."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from minilm import make_folder
from sets import read_rows

import slimjax

LONGEST = 256
"""Pieces of a text that are read: what the model's publishers advise."""


def search(source: str, data: Path) -> dict[str, Any]:
    """Returns how well questions find their answers by cosines of vectors.

    Args:
        source: The file with a ``text`` and a ``text_pair`` on each line.
        data: Where packages and their content are kept.
    """
    start = time.perf_counter()
    rows = read_rows(source)
    model = slimjax.load(make_folder(data))
    cut = lambda text: model.tokenizer.decode(model.encode(text)[: LONGEST - 2])
    questions, answers = (
        np.asarray(model.vectors([cut(row[name]) for row in rows]))
        for name in ("text", "text_pair")
    )
    found = rank_of_right(questions @ answers.T)
    return score_ranks(found) | {"seconds": time.perf_counter() - start}


def rank_of_right(scores: np.ndarray) -> np.ndarray:
    """Returns the place of each row's own column, from 1.

    Examples:
        >>> rank_of_right(np.array([[0.9, 0.1], [0.8, 0.2]]))
        array([1, 2])
    """
    own = np.diagonal(scores)[:, None]
    return np.sum(scores > own, axis=1) + 1


def score_ranks(ranks: np.ndarray) -> dict[str, Any]:
    """Returns the mean reciprocal rank, and how often the right answer is among few."""
    hits = {f"hit_at_{k}": float(np.mean(ranks <= k)) for k in (1, 5, 10)}
    return {"mrr": float(np.mean(1 / ranks)), **hits, "num_test": len(ranks)}
