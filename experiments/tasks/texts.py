"""Texts with a label or a value: films, goods, topics, mail."""

import csv
import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
NEUTRAL = 0.5
"""Scores, -4 to 4, up to which a sentence is neither good nor bad."""


def movie(folder: Path) -> list[Row]:
    """Returns sentences on films, good or bad; neutral ones are left out."""
    return [row for row in three(folder) if row["label"] != "neutral"]


def three(folder: Path) -> list[Row]:
    """Returns sentences on films: good, bad or neutral."""
    sign = lambda score: "pos" if score > 0 else "neg"
    return [
        {"text": text, "label": sign(score) if abs(score) > NEUTRAL else "neutral"}
        for text, score in _scored(folder, "movieReviewSnippets")
    ]


def graded(folder: Path) -> list[Row]:
    """Returns sentences on films with the mean score of their raters, -4 to 4."""
    scored = _scored(folder, "movieReviewSnippets")
    return [{"text": text, "value": score} for text, score in scored]


def _scored(folder: Path, name: str) -> list[tuple[str, float]]:
    path = next(folder.rglob("hutto_ICWSM_2014.tar.gz"))
    with tarfile.open(path) as archive:
        member = next(m for m in archive if m.name.endswith(f"{name}_GroundTruth.txt"))
        text = archive.extractfile(member).read().decode("utf-8")  # type: ignore
    lines = [line.rstrip("\r").split("\t") for line in text.split("\n")]
    return [(line[2], float(line[1])) for line in lines if len(line) >= 3]


def chinese(folder: Path) -> list[Row]:
    """Returns each review once, and none that is called both good and bad."""
    found: dict[str, list[str]] = {}
    for label in ("pos", "neg"):
        path = next(folder.rglob(f"sentiment/{label}.txt"))
        lines = (line.strip() for line in path.read_text("utf-8").split("\n"))
        found[label] = list(dict.fromkeys(line for line in lines if line))
    both = set(found["pos"]) & set(found["neg"])
    return [
        {"text": text, "label": label}
        for label, texts in found.items()
        for text in texts
        if text not in both
    ]


def r8(folder: Path) -> tuple[list[Row], list[Row]]:
    """Returns articles of Reuters on eight topics, in their own split."""
    return _table(folder, "reuters-r8-train"), _table(folder, "reuters-r8-test")


def news(folder: Path) -> tuple[list[Row], list[Row]]:
    """Returns posts of twenty newsgroups, in their own split."""
    return _table(folder, "20newsgroups-train"), _table(folder, "20newsgroups-test")


def _table(folder: Path, name: str) -> list[Row]:
    """Returns the rows of a table of Orange, which has three rows of header."""
    csv.field_size_limit(10**9)
    text = next(folder.rglob(f"{name}.tab")).read_text("utf-8")
    table = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t"))[3:]
    rows = (row for row in table if len(row) > 1 and row[0] and row[1].strip())
    return [{"text": row[1], "label": row[0]} for row in rows]


def spam(folder: Path) -> list[Row]:
    """Returns mails without their headers: spam, or ham."""
    return [row for row in _mails(folder / "package/spam-assassin/data") if row["text"]]


def _mails(root: Path) -> Iterator[Row]:
    for path in sorted(root.glob("*/*.json")):
        label = "spam" if path.parent.name.startswith("spam") else "ham"
        text = json.loads(path.read_text("utf-8"))["text"]
        _, _, body = text.replace("\r\n", "\n").partition("\n\n")
        yield {"text": re.sub(r"\s+", " ", body).strip(), "label": label}
