"""The images of answered examples that a page shows, beside the answers."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Int

from slimjax.data.dataset import Dataset, spread_rows
from slimjax.data.image_table import IMAGE
from slimjax.processes import is_first
from slimjax.run.answers import Answered, owners_of
from slimjax.store.files import write_atomic

NUM_COSTLY, NUM_SHOWN = 60, 12
"""Images that are kept: those of the highest losses, and some of the whole split."""


def write_images(path: Path, data: Dataset, split: str, answered: Answered) -> None:
    """Writes ``numbers`` of examples, their ``pixels``, and which are ``shown``.

    Nothing is written for examples without images, or with several rows each.

    Args:
        path: The file, ``.npz``.
        data: Where the examples are from.
        split: Its name.
        answered: The answers to all examples of the split.
    """
    num_rows = data.num_rows(split)
    has_images = IMAGE in data.fields and owners_of(data, split) is None
    if not has_images or num_rows != len(answered.examples) or not is_first():
        return
    shown = spread_rows(num_rows, NUM_SHOWN, seed=0)
    numbers = np.union1d(_costliest(answered.loss), shown)
    pixels = data.rows(split, numbers)[IMAGE]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, numbers=numbers, pixels=pixels, shown=shown)
    write_atomic(path, buffer.getvalue())


def _costliest(loss: np.ndarray) -> Int[np.ndarray, " N"]:
    known = np.nan_to_num(loss, nan=-np.inf)
    return np.argsort(-known, kind="stable")[:NUM_COSTLY].astype(np.int64)
