"""The first pass over a corpus: what it holds, and who goes into which split."""

import dataclasses
import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from slimjax.data.config import DataConfig
from slimjax.data.files import show
from slimjax.data.sample import PassageSample
from slimjax.data.sources import (
    choose_document_bytes,
    guess_bytes,
    iterate_documents,
)
from slimjax.data.splits import (
    SplitBorders,
    hash_document,
    hash_to_fraction,
    place_borders,
)
from slimjax.errors import DataError

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


def iterate_config(
    config: DataConfig, max_bytes: int, skipped: Counter[str] | None = None
) -> Iterator[str]:
    """Yields the documents that a config names, the same ones in every pass."""
    return iterate_documents(
        config.source,
        max_bytes=max_bytes,
        on_bad_document=config.on_bad_document,
        skipped=skipped,
    )


def survey_documents(config: DataConfig, report: Progress) -> Survey:
    """Reads all the text once."""
    max_bytes = choose_document_bytes(config.source)
    guess = guess_bytes(config.source)
    digest, fractions, num_bytes = hashlib.sha256(), array("d"), 0
    skipped, sample = Counter(), PassageSample()
    for text in iterate_config(config, max_bytes, skipped):
        document = hash_document(text)
        digest.update(document)
        fractions.append(hash_to_fraction(document))
        num_bytes += len(text.encode())
        if config.tokenizer == "sentencepiece":
            sample.add(text, fractions[-1])
        if len(fractions) % 64 == 0:
            report("read", min(num_bytes / guess, 1.0))
    if not fractions:
        raise DataError(f"config.data.source={show(config.source)} holds no document.")
    borders = place_borders(
        np.array(fractions), config.valid_fraction, config.test_fraction
    )
    report("read", 1.0)
    passages = [p for p, f in sample.passages() if borders.choose(f) == "train"]
    found = digest.hexdigest()
    return Survey(max_bytes, found, borders, num_bytes, dict(skipped), passages)
