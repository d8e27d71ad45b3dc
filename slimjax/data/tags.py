"""Tags of tokens: which token begins an entity of which type, and which goes on.

Whatever the files have, BIO or BIOES, models answer in BIO: class 0 is outside, and
type k has the classes ``1 + 2 k`` (begins) and ``2 + 2 k`` (goes on).
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slimjax.data.labels import Labels, make_labels
from slimjax.errors import DataError
from slimjax.text.span_kinds import OUTSIDE

BIO, BIOES, PLAIN = "BIO", "BIOES", "plain"

Entity = tuple[int, int, str]
"""Start, end (after the last token) and type."""


class Tags(Labels):
    """Types of entities, and the classes of their tags.

    Attributes:
        scheme: ``BIO`` or ``BIOES``: how tags are written in the files.
    """

    def __init__(self, types: Iterable[str], counts: Iterable[int], scheme: str = BIO):
        """Takes the types in the order of their classes.

        Args:
            types: The types of entities.
            counts: How often each class, not type, is in the train split.
            scheme: How tags are written.
        """
        self.types, self.scheme = tuple(types), scheme
        names = [f"{mark}-{kind}" for kind in self.types for mark in "BI"]
        super().__init__([OUTSIDE, *names], counts, field="tags")

    def content(self) -> dict[str, Any]:
        """Returns what ``labels.json`` holds."""
        return super().content() | {"scheme": self.scheme, "types": self.types}

    def write(self, classes: Sequence[int]) -> list[str]:
        """Returns tags as the files have them; classes that begin nothing do begin.

        Examples:
            >>> Tags(["PER"], [9, 1, 1], "BIOES").write([1, 2, 0, 2])
            ['B-PER', 'E-PER', 'O', 'S-PER']
        """
        tags = [OUTSIDE] * len(classes)
        for start, end, kind in self.entities(classes):
            marks = ["B"] + ["I"] * (end - start - 1)
            if self.scheme == BIOES:
                marks[-1] = "S" if len(marks) == 1 else "E"
            tags[start:end] = [f"{mark}-{kind}" for mark in marks]
        return tags

    def entities(self, classes: Sequence[int]) -> list[Entity]:
        """Returns the entities of classes, in order.

        Examples:
            >>> Tags(["PER", "ORG"], [9, 1, 1, 1, 1]).entities([1, 2, 4, 0, 3])
            [(0, 2, 'PER'), (2, 3, 'ORG'), (4, 5, 'ORG')]
        """
        found, start, before = [], 0, 0
        for place, number in enumerate([*classes, 0]):
            goes_on = number > 0 and number % 2 == 0 and before in (number, number - 1)
            if not goes_on:
                if before:
                    found.append((start, place, self.types[(before - 1) // 2]))
                start = place
            before = number
        return found


class PlainTags(Tags):
    """Classes of tokens of a pretrained model that are not those of BIO.

    Neighbours of one class are one entity of that type, unless the class is `O`.
    """

    def __init__(self, names: Iterable[str], counts: Iterable[int]):
        """Takes the classes in the order of their numbers."""
        Labels.__init__(self, names, counts, field="tags")
        self.types, self.scheme = self.names, PLAIN

    def write(self, classes: Sequence[int]) -> list[str]:
        """Returns the names of classes.

        Examples:
            >>> PlainTags(["O", "NOUN"], [0, 0]).write([1, 0])
            ['NOUN', 'O']
        """
        return [self.names[number] for number in classes]

    def entities(self, classes: Sequence[int]) -> list[Entity]:
        """Returns runs of one class, in order.

        Examples:
            >>> PlainTags(["NOUN", "O"], [0, 0]).entities([0, 0, 1, 0])
            [(0, 2, 'NOUN'), (3, 4, 'NOUN')]
        """
        found, start = [], 0
        for number, run in itertools.groupby(classes):
            end = start + len(list(run))
            if self.names[number] != OUTSIDE:
                found.append((start, end, self.names[number]))
            start = end
        return found


def count_tags(examples: Iterable[Sequence[str]]) -> Tags:
    """Returns the tags of a train split.

    Raises:
        DataError: If no token is in an entity.
    """
    counts: Counter[str] = Counter()
    is_long = False
    for tags in examples:
        counts.update(to_bio(tags))
        is_long = is_long or any(tag[0] in "ES" for tag in tags)
    types = sorted({tag[2:] for tag in counts if tag != OUTSIDE})
    if not types:
        raise DataError(
            "No token of the train split is in an entity. Check config.data.fields."
        )
    names = [f"{mark}-{kind}" for kind in types for mark in "BI"]
    own = [counts[name] for name in (OUTSIDE, *names)]
    return Tags(types, own, BIOES if is_long else BIO)


def make_labels_or_tags(content: Mapping[str, Any]) -> Labels:
    """Returns what the content of a ``labels.json`` describes.

    Raises:
        ValueError: If it describes none.
    """
    if "scheme" not in content:
        return make_labels(content)
    types, scheme = content["types"], content["scheme"]
    if scheme == PLAIN:
        counts = [int(count) for count in content["train_counts"]]
        return PlainTags([str(name) for name in content["labels"]], counts)
    if scheme not in (BIO, BIOES) or not all(type(name) is str for name in types):
        raise ValueError("types or scheme are of another kind")
    return Tags(types, [int(count) for count in content["train_counts"]], scheme)


def to_bio(tags: Sequence[str]) -> list[str]:
    """Returns tags of BIO or BIOES as BIO; what goes on with nothing begins.

    Examples:
        >>> to_bio(["S-PER", "B-ORG", "E-ORG", "O", "I-LOC"])
        ['B-PER', 'B-ORG', 'I-ORG', 'O', 'B-LOC']
    """
    found = []
    for place, tag in enumerate(tags):
        mark = tag if tag == OUTSIDE else tag[2:]
        if tag != OUTSIDE:
            mark = f"{'I' if _goes_on(tags, place) else 'B'}-{tag[2:]}"
        found.append(mark)
    return found


def find_orphan(tags: Sequence[str]) -> int | None:
    """Returns the first tag that should go on with an entity, and has none before it.

    Examples:
        >>> find_orphan(["B-PER", "I-PER", "I-ORG"])
        2
    """
    for place, tag in enumerate(tags):
        if tag[0] in "IE" and not _goes_on(tags, place):
            return place
    return None


def _goes_on(tags: Sequence[str], place: int) -> bool:
    """Whether a tag goes on with the entity of the tag before it."""
    if tags[place][0] not in "IE" or place == 0:
        return False
    before = tags[place - 1]
    return before[0] in "BI" and before[2:] == tags[place][2:]
