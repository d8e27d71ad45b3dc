"""Two texts that belong together: synopses, words, questions and answers."""

import hashlib
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from packages import read_list

Row = dict[str, Any]
Split = tuple[list[Row], list[Row]]
POINTERS = {"@": "is_a", "#p": "part_of", "#m": "member_of"}
POINTERS |= {"!": "antonym", "&": "similar"}
MOST, MOST_TEST = 6_000, 1_000
"""Examples of each relation, for training and for test."""


def fraction(text: str, salt: str) -> float:
    """Returns a number in [0, 1) that depends on the text alone."""
    digest = hashlib.sha256(f"{salt}{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class Description(NamedTuple):
    """How Debian describes a package: in one line, and at length."""

    short: str
    long: str
    source: str
    section: str


def descriptions(folder: Path) -> list[Description]:
    """Returns each description once; of copies, that of the first package."""
    texts = {}
    for record in read_list(folder, "Translation-en").split("\n\n"):
        digest = re.search(r"^Description-md5: (\S+)", record, re.M)
        text = re.search(r"^Description-en: (.*(?:\n .*)*)", record, re.M)
        if digest and text:
            texts[digest.group(1)] = _parse(text.group(1).split("\n"))
    found, wanted = [], r"^(Package|Source|Section|Description-md5): (.*)$"
    for record in read_list(folder, "Packages").split("\n\n"):
        fields = dict(re.findall(wanted, record, re.M))
        short, long = texts.pop(fields.get("Description-md5", ""), ("", ""))
        if short:
            source = fields.get("Source", fields["Package"]).split()[0]
            found.append(Description(short, long, source, fields.get("Section", "")))
    return found


def _parse(lines: list[str]) -> tuple[str, str]:
    """Returns the synopsis and the paragraphs of a description."""
    body = "\n".join("" if line.strip() == "." else line[1:] for line in lines[1:])
    paragraphs = (re.sub(r"\s+", " ", part).strip() for part in body.split("\n\n"))
    return lines[0].strip(), "\n".join(part for part in paragraphs if part)


def synopses(folder: Path) -> Split:
    """Returns pairs of synopsis and description; wrong ones are of one section."""
    rows = [d for d in descriptions(folder) if len(d.long) > 100 and len(d.short) > 10]
    source, sections = random.Random(0), defaultdict(list)
    for row in rows:
        sections[row.section].append(row)
    train, test = [], []
    for row in rows:
        is_right = source.random() < 0.5
        other = row if is_right else source.choice(sections[row.section])
        if not is_right and other.source == row.source:
            continue
        part = test if fraction(row.source, "pair") < 0.06 else train
        label = "yes" if is_right else "no"
        pair = {"text": other.short, "text_pair": row.long[:400], "label": label}
        part.append(pair)
    source.shuffle(train)
    return train[:20_000], test


def summaries(folder: Path) -> Split:
    """Returns descriptions of more than 200 characters, and their synopses."""
    dull = re.compile(r"transitional|dummy", re.I)
    train, test = [], []
    for row in descriptions(folder):
        if len(row.long) <= 200 or dull.search(row.short + row.long[:200]):
            continue
        part = test if fraction(row.source, "summary") < 0.03 else train
        part.append({"source": row.long, "target": row.short})
    return train, test


def extracts(folder: Path) -> Split:
    """Returns the same, for choosing sentences."""
    rename = lambda row: {"document": row["source"], "summary": row["target"]}
    train, test = summaries(folder)
    return list(map(rename, train)), list(map(rename, test))


def relations(folder: Path) -> Split:
    """Returns pairs of words with their glosses, and how they are related.

    A set of synonyms is wholly on one side, so no gloss of test stands in training.
    """
    sets = synonyms(folder)
    source, pairs = random.Random(0), defaultdict(list)
    for key, (_, pointers) in sets.items():
        for name, other in pointers:
            if name in POINTERS and other in sets:
                pairs[POINTERS[name]].append((key, other))
    keys = list(sets)
    draws = ((source.choice(keys), source.choice(keys)) for _ in range(2 * MOST))
    pairs["none"] = list(draws)
    is_test = {key: fraction("".join(key), "wordnet") < 0.25 for key in keys}
    train, test = [], []
    for label, found in sorted(pairs.items()):
        source.shuffle(found)
        for part, most, side in ((train, MOST, False), (test, MOST_TEST, True)):
            own = [p for p in found if all(is_test[key] == side for key in p)][:most]
            part += [
                {"text": sets[a][0], "text_pair": sets[b][0], "label": label}
                for a, b in own
            ]
    return train, test


def synonyms(folder: Path) -> dict[tuple[str, str], tuple[str, list]]:
    """Returns word and gloss of each set of WordNet, and its pointers to others."""
    found = {}
    for kind in ("noun", "verb", "adj", "adv"):
        path = next(p for p in folder.rglob(f"data.{kind}") if "3.1" in p.parts)
        for line in path.read_text("utf-8").split("\n"):
            if not line or line.startswith("  "):
                continue
            body, _, gloss = line.partition(" | ")
            words = body.split()
            last = 4 + 2 * int(words[3], 16)
            pointers = [
                (words[i], (words[i + 1], words[i + 2].replace("s", "a")))
                for i in range(last + 1, last + 1 + 4 * int(words[last]), 4)
            ]
            gloss = gloss.strip().split('; "')[0]
            text = f"{words[4].replace('_', ' ')}: {gloss}"
            found[words[0], words[2].replace("s", "a")] = text, pointers
    return found


def faq(folder: Path) -> Split:
    """Returns Perl's frequent questions and their answers, all of them for test."""
    rows = []
    for path in sorted(folder.rglob("perlfaq[1-9].pod")):
        text = path.read_text("utf-8", errors="replace")
        parts = re.findall(r"^=head2 (.+?)\n(.*?)(?=^=head[12]|\Z)", text, re.M | re.S)
        rows += [
            {"text": _plain(question), "text_pair": _plain(answer)}
            for question, answer in parts
            if question.strip().endswith("?") and len(answer) > 80
        ]
    return [], rows


def _plain(text: str) -> str:
    """Returns a text of Perl's documentation without its markup."""
    text = re.sub(r"X<[^>]*>", "", text)
    text = re.sub(r"[A-Z]<+\s*([^<>]*?)\s*>+", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()
