"""Facts of WordNet as questions and answers, to be learned by heart.

A fact is a word, a relation and the words that it leads to. Each is asked for in three
wordings. Of a tenth of the facts one wording is kept for test: what it asks for stands
in training, but not in these words. A model that reads no book must know it.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from texts_in_pairs import POINTERS, fraction, synonyms

Row = dict[str, Any]
MOST_FACTS = 1_000
"""Facts of each relation."""

TEST_FRACTION = 0.1
WORDINGS = {
    "is_a": ("What kind of thing is {}?", "{} is a kind of what?", "Define {}."),
    "part_of": ("What is {} a part of?", "{} is part of what?", "Where is {} found?"),
    "member_of": ("What is {} a member of?", "{} belongs to what?", "Group of {}?"),
    "antonym": ("What is the opposite of {}?", "{} is not what?", "Antonym of {}?"),
}


def read_facts(folder: Path) -> tuple[list[Row], list[Row]]:
    """Returns questions with their answers, for training and for test."""
    train, test = [], []
    for relation, found in _facts(folder).items():
        order = sorted(found, key=lambda word: fraction(word, relation))
        for word in order[:MOST_FACTS]:
            rows = [
                {"source": wording.format(word), "target": found[word]}
                for wording in WORDINGS[relation]
            ]
            place = fraction(word, f"{relation}?") / TEST_FRACTION
            if place < 1:
                test.append(rows.pop(int(place * len(rows))))
            train += rows
    return train, test


def _facts(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Returns the words to which each word is related, by relation."""
    sets = synonyms(folder)
    word_of = {key: text.split(": ")[0] for key, (text, _) in sets.items()}
    found: dict[str, dict[str, list[str]]] = {
        name: defaultdict(list) for name in WORDINGS
    }
    for key, (_, pointers) in sets.items():
        for name, other in pointers:
            relation = POINTERS.get(name, "")
            if relation in found and other in word_of:
                answers = found[relation][word_of[key]]
                if word_of[other] not in answers:
                    answers.append(word_of[other])
    return found
