"""The examples of each study, as what fetch.py wrote, split by a seed.

Questions and clothes have a test split of their own. Digits, stamps and captions are
dealt out here, a fifth of the pictures for test, so that baselines.py reads the same
examples. Splits are files below the folder of the data.
"""

import gzip
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fetch import write_idx, write_lines

Settings = dict[str, Any]
"""Values by their names in a config."""

TEST_FRACTION = 0.2
PARTS = {"train": "train", "test": "t10k"}
"""What IDX files of each split are called."""


def find_sources(data_set: str, seed: int, data: Path) -> Settings:
    """Returns the settings by which a config reads a data set.

    Args:
        data_set: questions, digits, clothes, stamps, captions-en, captions-zh or pairs.
        seed: Of the split, where the data have none.
        data: What fetch.py wrote.
    """
    if data_set == "clothes":
        return {"data.source": f"idx:{data / 'fashion_mnist'}"}
    if data_set == "digits":
        return {"data.source": f"idx:{_deal_digits(data, seed)}"}
    if data_set == "questions":
        return _lines(data / "easy_vqa")
    own = _deal_stamps(data_set, data, seed)
    return _lines(own) | {"data.image_dir": str(data / "stamps")}


def read_rows(data_set: str, seed: int, data: Path, split: str) -> list[dict[str, Any]]:
    """Returns the rows of a split, of data that are lines of JSON."""
    own = data / "easy_vqa"
    if data_set != "questions":
        own = _deal_stamps(data_set, data, seed)
    lines = (own / f"{split}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def read_images(
    data_set: str, seed: int, data: Path, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images ``[N 784]``, 0 to 1, and labels ``[N]``, of IDX files."""
    own = data / "fashion_mnist" if data_set == "clothes" else _deal_digits(data, seed)
    images = _read_idx(own, f"{PARTS[split]}-images-idx3-ubyte", 16)
    labels = _read_idx(own, f"{PARTS[split]}-labels-idx1-ubyte", 8)
    return images.reshape(len(labels), -1) / 255.0, labels


def _lines(folder: Path) -> Settings:
    train, test = (f"jsonl:{folder / split}.jsonl" for split in ("train", "test"))
    return {"data.source": train, "data.test_source": test}


def _read_idx(folder: Path, name: str, start: int) -> np.ndarray:
    path = folder / name
    content = path.read_bytes() if path.exists() else None
    if content is None:
        content = gzip.decompress((folder / f"{name}.gz").read_bytes())
    return np.frombuffer(content[start:], np.uint8)


def _deal_digits(data: Path, seed: int) -> Path:
    """Writes the digits of a split, unless they are there."""
    target, own = data / f"splits/digits-{seed}", data / "mnist_5k"
    if target.exists():
        return target
    images = _read_idx(own, "train-images-idx3-ubyte", 16).reshape(-1, 28, 28)
    labels = _read_idx(own, "train-labels-idx1-ubyte", 8)
    order = np.random.default_rng(seed).permutation(len(labels))
    num_test = round(TEST_FRACTION * len(labels))
    draft = make_draft(target)
    for split, rows in (("test", order[:num_test]), ("train", order[num_test:])):
        write_idx(draft / f"{PARTS[split]}-images-idx3-ubyte", images[rows])
        write_idx(draft / f"{PARTS[split]}-labels-idx1-ubyte", labels[rows])
    return finish(draft, target)


def _deal_stamps(data_set: str, data: Path, seed: int) -> Path:
    """Writes the rows of a split of stamps, unless they are there."""
    target = data / f"splits/{data_set}-{seed}"
    if target.exists():
        return target
    rows, source = _stamps(data_set, data / "stamps"), np.random.default_rng(seed)
    kinds: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        kinds.setdefault(row.get("label", ""), []).append(i)
    tested: set[int] = set()
    for members in kinds.values():  # Each class has its share.
        num_test = round(TEST_FRACTION * len(members))
        tested |= {int(i) for i in source.permutation(members)[:num_test]}
    draft = make_draft(target)
    write_lines(draft / "test.jsonl", [rows[i] for i in sorted(tested)])
    rest = [row for i, row in enumerate(rows) if i not in tested]
    write_lines(draft / "train.jsonl", rest)
    return finish(draft, target)


def _stamps(data_set: str, folder: Path) -> list[dict[str, Any]]:
    """Returns all rows: images with labels, or with what is written for them."""
    if data_set == "stamps":
        paths = sorted((folder / "images").glob("*/*"))
        own = lambda path: str(path.relative_to(folder))
        return [{"image": own(path), "label": path.parent.name} for path in paths]
    name = "captions" if data_set == "captions-en" else "translations"
    lines = (folder / f"{name}.jsonl").read_text("utf-8").splitlines()
    read = ("image", "target", *(("source",) if data_set == "pairs" else ()))
    return [{key: json.loads(line)[key] for key in read} for line in lines]


def make_draft(target: Path) -> Path:
    """Returns a new folder beside another one, for this process alone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    draft.chmod(0o755)
    return draft


def finish(draft: Path, target: Path) -> Path:
    """Moves a draft to its place, unless another process was faster."""
    try:
        draft.rename(target)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not target.exists():
            raise
    return target
