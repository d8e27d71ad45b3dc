"""Images of digits and of clothes, by pixels."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np


def digits(folder: Path) -> list[dict[str, Any]]:
    """Returns the lines of the table of 5,000 digits, pixels and class apart."""
    table = next(folder.rglob("mnist_5k.csv.gz")).read_bytes()
    lines = gzip.decompress(table).decode("ascii").split("\n")
    parts = [line.rsplit(",", 1) for line in lines if line]
    return [{"pixels": pixels, "label": label} for pixels, label in parts]


def folder_of_clothes(folder: Path) -> Path:
    """Returns the folder of Fashion-MNIST's four files."""
    return next(folder.rglob("train-images-idx3-ubyte.gz")).parent


def read_images(sources: tuple[str, ...], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns images ``[N 784]``, 0 to 1, and labels ``[N]``, int."""
    if len(sources) == 1:
        part = {"train": "train", "test": "t10k"}[split]
        folder = Path(sources[0].removeprefix("idx:"))
        images = _bytes(folder / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 784)
        return images / 255.0, _bytes(folder / f"{part}-labels-idx1-ubyte.gz", 8)
    path = sources[split == "test"].removeprefix("csv:")
    table = np.loadtxt(path, delimiter=",", dtype=np.int64)
    return table[:, :-1] / 255.0, table[:, -1]


def _bytes(path: Path, start: int) -> np.ndarray:
    """Returns the bytes of an IDX file after its header."""
    return np.frombuffer(gzip.decompress(path.read_bytes())[start:], np.uint8)
