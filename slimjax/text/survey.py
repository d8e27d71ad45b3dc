"""The first pass over a corpus: what it holds, and the borders of its splits."""

import dataclasses
import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Set

import numpy as np

from slimjax.errors import DataError
from slimjax.text.corpus import choose_document_bytes, guess_bytes, iterate_documents
from slimjax.text.files import show
from slimjax.text.records import DEFAULT_FORMAT, Format
from slimjax.text.sample import PassageSample
from slimjax.text.skips import Skips
from slimjax.text.sources import Names, name_sources
from slimjax.text.splits import (
    SplitBorders,
    hash_document,
    hash_to_fraction,
    place_borders,
    place_folds,
)

Progress = Callable[[str, float], None]


@dataclasses.dataclass(frozen=True)
class Reading:
    """What to read, and how.

    Attributes:
        source: See `slimjax.text.sources`.
        on_bad_document: ``error`` or ``skip``.
        field: The field of records, where a source names none itself.
        style: How files are to be read.
        own: Sources of held-out splits, by split, as far as they have their own.
    """

    source: Names
    on_bad_document: str = "error"
    field: str = ""
    style: Format = DEFAULT_FORMAT
    own: Mapping[str, Names] = dataclasses.field(default_factory=dict)

    def documents(
        self, max_bytes: int, skips: Skips | None = None
    ) -> Iterator[tuple[str, str]]:
        """Yields documents with the splits that they are from, the same in every pass.

        First come those of held-out splits with a source of their own; the split of all
        others is ``train``, from which the missing ones are drawn.
        """
        for split, source in {**self.own, "train": self.source}.items():
            texts = iterate_documents(
                source,
                max_bytes=max_bytes,
                on_bad_document=self.on_bad_document,
                skips=skips,
                field=self.field,
                style=dataclasses.replace(self.style, split=split),
            )
            yield from ((split, text) for text in texts)


@dataclasses.dataclass(frozen=True)
class Survey:
    """What the first pass over the text finds out.

    Attributes:
        max_bytes: Longer text is cut into documents.
        digest: SHA-256 over all documents.
        borders: Those between splits, on [0, 1).
        num_bytes: UTF-8 bytes of all documents.
        skips: What could not be read.
        passages: Text of the train split, for a tokenizer.
        held_out: Hashes of the documents of held-out splits with their own sources.
        num_copies: Documents left out of train because such a split has them.
    """

    max_bytes: int
    digest: str
    borders: SplitBorders
    num_bytes: int
    skips: Skips
    passages: list[str]
    held_out: Set[bytes] = frozenset()
    num_copies: int = 0

    def choose(self, split: str, document: bytes) -> str | None:
        """Returns the split of a document; None if it is left out.

        Args:
            split: The split that it is from.
            document: Its hash.
        """
        if split != "train":
            return split
        if document in self.held_out:
            return None
        return self.borders.choose(hash_to_fraction(document))


def survey_documents(
    reading: Reading,
    *,
    valid_fraction: float,
    test_fraction: float,
    wants_passages: bool,
    report: Progress,
    folds: tuple[int, int] = (1, 0),
) -> Survey:
    """Reads all the text once.

    Args:
        reading: What to read, and how.
        valid_fraction: Share of the documents in the valid split.
        test_fraction: Share of the documents in the test split.
        wants_passages: Whether to sample text of the train split, for a tokenizer.
        report: Called with ``read`` and the fraction that is done.
        folds: Number of parts for cross-validation, and the one that is valid.

    Raises:
        DataError: If a document is bad, or if there is none.
    """
    max_bytes = choose_document_bytes(reading.source, reading.style)
    guess = guess_bytes(reading.source, reading.style)
    digest, fractions, num_bytes = hashlib.sha256(), array("d"), 0
    skips, sample, held_out, num_copies = Skips(), PassageSample(), set[bytes](), 0
    for split, text in reading.documents(max_bytes, skips):
        document = hash_document(text)
        if split == "train" and document in held_out:
            num_copies += 1
            continue
        num_bytes += len(text.encode())
        if split != "train":
            digest.update(split.encode() + document)
            held_out.add(document)
            continue
        digest.update(document)
        fractions.append(hash_to_fraction(document))
        if wants_passages:
            sample.add(text, fractions[-1])
        if len(fractions) % 64 == 0:
            report("read", min(num_bytes / guess, 1.0))
    shares = {"valid": valid_fraction, "test": test_fraction}
    borders = _place_borders(reading, fractions, shares, skips, folds)
    report("read", 1.0)
    passages = [p for p, f in sample.passages() if borders.choose(f) == "train"]
    found = max_bytes, digest.hexdigest(), borders, num_bytes, skips, passages
    return Survey(*found, held_out, num_copies)


def _place_borders(
    reading: Reading,
    fractions: array,
    shares: Mapping[str, float],
    skips: Skips,
    folds: tuple[int, int],
) -> SplitBorders:
    """Returns the borders of the splits that are drawn."""
    if not fractions:
        name = show(name_sources(reading.source))
        left_out = skips.describe("config.data.on_bad_document", "documents")
        raise DataError(f"config.data.source={name} holds no document. {left_out}")
    drawn = {**shares, **dict.fromkeys(reading.own, 0.0)}
    if folds[0] > 1:
        return place_folds(np.array(fractions), drawn["test"], *folds)
    return place_borders(np.array(fractions), drawn["valid"], drawn["test"])
