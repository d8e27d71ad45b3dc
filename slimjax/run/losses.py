"""The loss of each held-out document or example, so that two models can be compared.

Two models that are measured on the same documents differ by far less than either is
uncertain: what makes a document hard cancels out. ``losses-SPLIT.jsonl`` has what is
needed for that.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

from slimjax.data.dataset import Dataset
from slimjax.store.files import write_atomic
from slimjax.tasks.base import Columns
from slimjax.tasks.error import BY_POSITION, NO_TARGET

Losses = Mapping[str, np.ndarray]
"""``nats``, ``targets`` and ``bytes`` of each document or example, ``[N]``."""

NAMES = ("nats", "targets", "bytes")


def find_losses(
    data: Dataset, split: str, measured: Columns, by_example: Columns
) -> Losses:
    """Returns the losses of a split's documents, or of its examples or rows.

    Args:
        data: Where the rows are from.
        split: Its name; all of its rows were measured.
        measured: What was kept of each row.
        by_example: The same by example.
    """
    if BY_POSITION in measured and split in data.documents:
        sizes = np.asarray(data.documents[split])
        return losses_of_documents(measured[BY_POSITION], sizes)
    return {name: by_example[name] for name in NAMES if name in by_example}


def losses_of_documents(
    nats: Float[np.ndarray, "R T"], sizes: Int64[np.ndarray, "D 2"]
) -> Losses:
    """Returns the losses of documents that lie in rows one after the other.

    Args:
        nats: Of each token; `NO_TARGET` where it is none.
        sizes: Tokens and raw bytes of each document.

    Examples:
        >>> nats = np.array([[0.0, 1.0, 2.0], [3.0, NO_TARGET, 5.0]])
        >>> found = losses_of_documents(nats, np.array([[4, 3], [2, 1]]))
        >>> found["nats"], found["targets"]
        (array([6., 5.]), array([4, 1]))
    """
    flat, bounds = nats.astype(np.float64).ravel(), np.cumsum(sizes[:, 0])
    flat = flat[: int(bounds[-1])] if len(bounds) else flat[:0]
    is_target, starts = flat != NO_TARGET, bounds - sizes[:, 0]
    sum_up = lambda x: np.add.reduceat(x, starts) if len(starts) else np.zeros(0)
    return {
        "nats": sum_up(np.where(is_target, flat, 0.0)),
        "targets": sum_up(is_target.astype(np.int64)),
        "bytes": sizes[:, 1],
    }


def write_losses(path: Path, losses: Losses) -> None:
    """Writes one line for each document or example, in their order."""
    columns = {name: np.asarray(column).tolist() for name, column in losses.items()}
    rows = zip(*columns.values(), strict=True)
    lines = [json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows]
    write_atomic(path, "".join(lines).encode())


def read_losses(path: Path) -> Losses:
    """Returns what `write_losses` wrote.

    Raises:
        ValueError: If the file is not one of losses.
        OSError: If it cannot be read.
    """
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    try:
        found = {name: np.array([line[name] for line in lines]) for name in NAMES[:2]}
        if lines and NAMES[2] in lines[0]:
            found[NAMES[2]] = np.array([line[NAMES[2]] for line in lines])
    except (KeyError, TypeError) as error:
        raise ValueError(f"it holds something else: {error}") from error
    return found
