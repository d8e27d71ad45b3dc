"""Sentences with entities, and questions whose answers are entities.

The questions are generated: the type of an entity is asked of a sentence, and its only
entity of that type is the answer, or there is none. Texts and spans are real.

References:
    Li et al., "A Unified MRC Framework for Named Entity Recognition", 2020.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
NAMES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
WORD = re.compile(r"^\[?(.+?)/([A-Za-z]+)")
QUESTIONS = {"PER": "人名", "LOC": "地名", "ORG": "机构名"}


def tweets(folder: Path) -> list[Row]:
    """Returns English tweets with entities of ten types, in BIO tags."""
    path, rows, words = next(folder.rglob("data/ner.txt")), [], []
    for line in [*path.read_text("utf-8").split("\n"), ""]:
        parts = line.split()
        if len(parts) >= 2:
            words.append((parts[0], parts[-1]))
        elif words:
            tokens, tags = zip(*words, strict=True)
            rows.append({"tokens": list(tokens), "tags": list(tags)})
            words = []
    return rows


def daily(folder: Path) -> list[Row]:
    """Returns lines of the People's Daily, a tag for each character.

    The first half of the file is read. A surname and a given name are two words of the
    tag nr there: neighbours are one person.
    """
    lines = next(folder.rglob("tag/199801.txt")).read_text("utf-8").split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    found = map(_characters, lines[: len(lines) // 2])
    return [{"tokens": tokens, "tags": tags} for tokens, tags in found if tokens]


def _characters(line: str) -> tuple[list[str], list[str]]:
    """Returns the characters of a line of ``word/tag``, and their BIO tags."""
    tokens, tags, before = [], [], None
    for word, tag in (m.groups() for m in map(WORD.match, line.split()) if m):
        name = NAMES.get(tag)
        goes_on = name == "PER" and before == "PER"
        for i, character in enumerate(word):
            tokens.append(character)
            begins = i == 0 and not goes_on
            tags.append("O" if name is None else f"{'B' if begins else 'I'}-{name}")
        before = name
    return tokens, tags


def tweet_spans(folder: Path) -> list[Row]:
    """Returns one question for each tweet: where is its only entity of a type?"""
    rows = tweets(folder)
    types = sorted({tag[2:] for row in rows for tag in row["tags"] if tag != "O"})
    return list(_ask(rows, types, " ", {name: name for name in types}))


def daily_spans(folder: Path) -> list[Row]:
    """Returns one question for each line of the People's Daily."""
    return list(_ask(daily(folder), sorted(QUESTIONS), "", QUESTIONS))


def _ask(
    rows: list[Row], types: list[str], space: str, words: dict[str, str]
) -> Iterator[Row]:
    """Yields a question for most texts; types take turns.

    Where several entities have a type, it is not asked. Texts with a type of which
    there is one entity are asked for it, four of five times; otherwise for a type that
    is not there, like every third text of all others.
    """
    for i, row in enumerate(rows):
        spans = _spans(row["tags"])
        single = [t for t in types if sum(s[2] == t for s in spans) == 1]
        absent = [t for t in types if all(s[2] != t for s in spans)]
        if not single and (i % 3 or not absent):
            continue
        asked = single if single and (i % 5 or not absent) else absent
        name, context = asked[i % len(asked)], space.join(row["tokens"])
        answers: Row = {"text": [], "answer_start": []}
        for start, end, found in spans:
            if found == name:
                text = space.join(row["tokens"][start:end])
                place = len(space.join([*row["tokens"][:start], ""]))
                answers = {"text": [text], "answer_start": [place]}
        yield {"question": words[name], "context": context, "answers": answers}


def _spans(tags: list[str]) -> list[tuple[int, int, str]]:
    """Returns start, end and type of each entity of BIO tags."""
    spans, start = [], None
    for i, tag in enumerate([*tags, "O"]):
        if start is not None and not tag.startswith("I-"):
            spans.append((start, i, tags[start][2:]))
            start = None
        if tag.startswith("B-"):
            start = i
    return spans
