"""The first pass over a corpus: what it holds, and the borders of its splits."""

import dataclasses
import hashlib
from array import array
from collections.abc import Callable, Iterator

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
    """

    source: Names
    on_bad_document: str = "error"
    field: str = ""
    style: Format = DEFAULT_FORMAT

    def documents(self, max_bytes: int, skips: Skips | None = None) -> Iterator[str]:
        """Yields the documents, the same ones in every pass."""
        return iterate_documents(
            self.source,
            max_bytes=max_bytes,
            on_bad_document=self.on_bad_document,
            skips=skips,
            field=self.field,
            style=self.style,
        )


@dataclasses.dataclass(frozen=True)
class Survey:
    """What the first pass over the text finds out."""

    max_bytes: int
    digest: str
    borders: SplitBorders
    num_bytes: int
    skips: Skips
    passages: list[str]


def survey_documents(
    reading: Reading,
    *,
    valid_fraction: float,
    test_fraction: float,
    wants_passages: bool,
    report: Progress,
) -> Survey:
    """Reads all the text once.

    Args:
        reading: What to read, and how.
        valid_fraction: Share of the documents in the valid split.
        test_fraction: Share of the documents in the test split.
        wants_passages: Whether to sample text of the train split, for a tokenizer.
        report: Called with ``read`` and the fraction that is done.

    Raises:
        DataError: If a document is bad, or if there is none.
    """
    max_bytes = choose_document_bytes(reading.source, reading.style)
    guess = guess_bytes(reading.source, reading.style)
    digest, fractions, num_bytes = hashlib.sha256(), array("d"), 0
    skips, sample = Skips(), PassageSample()
    for text in reading.documents(max_bytes, skips):
        document = hash_document(text)
        digest.update(document)
        fractions.append(hash_to_fraction(document))
        num_bytes += len(text.encode())
        if wants_passages:
            sample.add(text, fractions[-1])
        if len(fractions) % 64 == 0:
            report("read", min(num_bytes / guess, 1.0))
    if not fractions:
        name = show(name_sources(reading.source))
        left_out = skips.describe("config.data.on_bad_document", "documents")
        raise DataError(f"config.data.source={name} holds no document. {left_out}")
    borders = place_borders(np.array(fractions), valid_fraction, test_fraction)
    report("read", 1.0)
    passages = [p for p, f in sample.passages() if borders.choose(f) == "train"]
    return Survey(max_bytes, digest.hexdigest(), borders, num_bytes, skips, passages)
