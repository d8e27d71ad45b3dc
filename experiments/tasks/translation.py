"""Sentences of LibreOffice's help in English and Chinese, from two Debian packages.

Twin pages have the same paragraphs and headings in the same order. Pages whose lists
are sorted by the alphabet are not aligned: a page is left out where fewer than half of
the pairs with Latin words have them in common. Pages are split, not sentences.
"""

import hashlib
import html
import re
from collections.abc import Iterator
from pathlib import Path

Pairs = list[tuple[str, str]]
Row = dict[str, str]

TEST_FRACTION = 0.045
SHORTEST, LONGEST = 2, 240
"""Characters of a sentence that is kept, in both languages."""

ELEMENT = re.compile(r"(?s)<(?:p|h[1-6])\b[^>]*>(.*?)</(?:p|h[1-6])>")
TAG, SPACE = re.compile(r"<[^>]+>"), re.compile(r"\s+")
HAN, LATIN = re.compile(r"[\u4e00-\u9fff]"), re.compile(r"[A-Za-z]{2,}")
DEBUG = "Title is:"


def read_split(folder: Path) -> tuple[list[Row], list[Row]]:
    """Returns pairs for training and for test as examples; see `read_pairs`."""
    train, test = (
        [{"source": source, "target": target} for source, target in pairs]
        for pairs in read_pairs(folder)
    )
    return train, test


def read_reversed(folder: Path) -> tuple[list[Row], list[Row]]:
    """Returns what `read_split` returns, from Chinese to English."""
    turn = lambda row: {"source": row["target"], "target": row["source"]}
    train, test = read_split(folder)
    return [turn(row) for row in train], [turn(row) for row in test]


def read_pairs(folder: Path) -> tuple[Pairs, Pairs]:
    """Returns pairs for training and for test; no test source is in training.

    Args:
        folder: What the packages hold.
    """
    train, test, seen = [], [], set()
    for page, pairs in _pages(folder / "usr/share/libreoffice/help"):
        part = test if _fraction(page) < TEST_FRACTION else train
        new = [pair for pair in pairs if pair not in seen]
        seen.update(new)
        part += new
    known = {source for source, _ in train}
    return train, [pair for pair in test if pair[0] not in known]


def _pages(root: Path) -> Iterator[tuple[str, Pairs]]:
    """Yields the name and the pairs of each page that is aligned."""
    for path in sorted((root / "en-US/text").rglob("*.html")):
        name = str(path.relative_to(root / "en-US"))
        twin = root / "zh-CN" / name
        if not twin.exists():
            continue
        english, chinese = _elements(path), _elements(twin)
        if len(english) != len(chinese):
            continue
        pairs = list(dict.fromkeys(zip(english, chinese, strict=True)))
        pairs = [pair for pair in pairs if _is_pair(*pair)]
        if _is_aligned(pairs):
            yield name, pairs


def _elements(path: Path) -> list[str]:
    """Returns the texts of the paragraphs and headings of a page."""
    text = path.read_text("utf-8")
    found = ELEMENT.findall(text[max(text.find('id="DisplayArea"'), 0) :])
    plain = (html.unescape(TAG.sub("", element)) for element in found)
    return [SPACE.sub(" ", text).strip() for text in plain]


def _is_pair(english: str, chinese: str) -> bool:
    lengths = len(english), len(chinese)
    return (
        min(lengths) >= SHORTEST
        and max(lengths) <= LONGEST
        and english != chinese
        and HAN.search(chinese) is not None
        and not english.startswith(DEBUG)
    )


def _is_aligned(pairs: Pairs) -> bool:
    """Whether half of the pairs with Latin words in Chinese have them in English."""
    found = [
        {word.lower() for word in LATIN.findall(chinese)}
        <= {word.lower() for word in LATIN.findall(english)}
        for english, chinese in pairs
        if LATIN.search(chinese)
    ]
    return 2 * sum(found) >= len(found)


def _fraction(name: str) -> float:
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
