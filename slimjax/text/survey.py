"""The first pass over a corpus: what it holds, and the borders of its splits."""

import dataclasses
import hashlib
from array import array
from collections import Counter
from collections.abc import Callable

import numpy as np

from slimjax.errors import DataError
from slimjax.text.files import show
from slimjax.text.sample import PassageSample
from slimjax.text.sources import (
    choose_document_bytes,
    guess_bytes,
    iterate_documents,
)
from slimjax.text.splits import (
    SplitBorders,
    hash_document,
    hash_to_fraction,
    place_borders,
)

Progress = Callable[[str, float], None]


@dataclasses.dataclass(frozen=True)
class Survey:
    """What the first pass over the text finds out."""

    max_bytes: int
    digest: str
    borders: SplitBorders
    num_bytes: int
    skipped: dict[str, int]
    passages: list[str]


def survey_documents(
    source: str,
    *,
    on_bad_document: str,
    valid_fraction: float,
    test_fraction: float,
    wants_passages: bool,
    report: Progress,
) -> Survey:
    """Reads all the text once.

    Args:
        source: See `slimjax.text.sources`.
        on_bad_document: ``error`` or ``skip``.
        valid_fraction: Share of the documents in the valid split.
        test_fraction: Share of the documents in the test split.
        wants_passages: Whether to sample text of the train split, for a tokenizer.
        report: Called with ``read`` and the fraction that is done.

    Raises:
        DataError: If a document is bad, or if there is none.
    """
    max_bytes = choose_document_bytes(source)
    guess = guess_bytes(source)
    digest, fractions, num_bytes = hashlib.sha256(), array("d"), 0
    skipped, sample = Counter(), PassageSample()
    for text in iterate_documents(
        source, max_bytes=max_bytes, on_bad_document=on_bad_document, skipped=skipped
    ):
        document = hash_document(text)
        digest.update(document)
        fractions.append(hash_to_fraction(document))
        num_bytes += len(text.encode())
        if wants_passages:
            sample.add(text, fractions[-1])
        if len(fractions) % 64 == 0:
            report("read", min(num_bytes / guess, 1.0))
    if not fractions:
        raise DataError(f"config.data.source={show(source)} holds no document.")
    borders = place_borders(np.array(fractions), valid_fraction, test_fraction)
    report("read", 1.0)
    passages = [p for p, f in sample.passages() if borders.choose(f) == "train"]
    found = digest.hexdigest()
    return Survey(max_bytes, found, borders, num_bytes, dict(skipped), passages)
