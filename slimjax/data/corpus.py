"""From a config to a corpus: text read twice, rows kept in the cache.

The first pass hashes the documents, which decides the splits and names the result; the
second one encodes them, unless the cache has the rows already.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from slimjax.data.cache import Info, open_entry
from slimjax.data.config import DataConfig
from slimjax.data.rows import Rows, RowWriter, check_train_rows, open_rows
from slimjax.data.tokenizer import (
    BytesTokenizer,
    Tokenizer,
    load_tokenizer,
    train_tokenizer,
)
from slimjax.errors import DataError
from slimjax.text.files import show
from slimjax.text.sources import iterate_documents
from slimjax.text.splits import (
    SPLITS,
    SplitBorders,
    hash_document,
    hash_to_fraction,
)
from slimjax.text.survey import Progress, Survey, survey_documents

FORMAT = 1  # Part of every name in the cache: a new way of preparing counts it up.
_ENCODE_CHARACTERS = 1 << 20  # Text encoded at once: enough for two threads.


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """Rows of tokens for each split, and what they were made from.

    Attributes:
        train: Rows ``[R, T]`` without padding.
        valid: Rows whose last one is padded; none if the split was not asked for.
        test: The same, for the split that nothing steers by.
        tokenizer: Turns ids back into text.
        source: Where the text came from.
        fingerprint: SHA-256 over all that determines the rows.
        num_tokens: Tokens of each split's documents, eos counted, padding not.
        num_bytes: Raw UTF-8 bytes of each split's documents.
        num_documents: Documents of each split.
        skipped: Bad documents that were left out, by reason.
    """

    train: Rows
    valid: Rows
    test: Rows
    tokenizer: Tokenizer
    source: str
    fingerprint: str
    num_tokens: dict[str, int]
    num_bytes: dict[str, int]
    num_documents: dict[str, int]
    skipped: dict[str, int]


def load_corpus(
    config: DataConfig,
    *,
    tokenizer: Tokenizer | None = None,
    all_valid: bool = False,
    progress: Progress | None = None,
) -> Corpus:
    """Reads, splits and encodes a corpus, or finds it in the cache.

    Args:
        config: What to read, and how.
        tokenizer: The one to use; by default one is trained on the corpus.
        all_valid: Whether every document is held out, in the split ``valid``.
        progress: Called with a stage, ``read``, ``tokenizer`` or ``encode``, and the
            fraction of it that is done.

    Raises:
        DataError: If text is missing, unreadable or too little.
        ConfigError: If the corpus does not support ``vocab_size``.
    """
    report = progress or (lambda *_: None)
    if all_valid:
        config = dataclasses.replace(config, valid_fraction=0.0, test_fraction=0.0)
    survey = survey_documents(
        config.source,
        on_bad_document=config.on_bad_document,
        valid_fraction=config.valid_fraction,
        test_fraction=config.test_fraction,
        wants_passages=config.tokenizer == "sentencepiece",
        report=report,
    )
    if all_valid:
        survey = dataclasses.replace(survey, borders=SplitBorders(0.0, 1.0))
    tokenizer = tokenizer or _prepare_tokenizer(config, survey, report)
    fingerprint = _hash(
        [survey.digest, dataclasses.astuple(survey.borders), config.seq_len],
        [config.valid_fraction, config.test_fraction, tokenizer.fingerprint],
    )

    def build(folder: Path) -> Info:
        return _write_rows(folder, config, survey, tokenizer, report)

    def load(folder: Path, info: Info) -> Corpus:
        rows = {split: open_rows(folder / f"{split}.npy") for split in SPLITS}
        source, skipped = config.source, survey.skipped
        return Corpus(
            **rows,
            **info,
            tokenizer=tokenizer,
            source=source,
            fingerprint=fingerprint,
            skipped=skipped,
        )

    corpus = open_entry(f"rows-{fingerprint[:32]}", build, load)
    report("encode", 1.0)
    return corpus


def _prepare_tokenizer(
    config: DataConfig, survey: Survey, report: Progress
) -> Tokenizer:
    """Trains a tokenizer on text of the train split, or finds it in the cache."""
    if config.tokenizer == "bytes":
        return BytesTokenizer()
    report("tokenizer", 0.0)

    def build(folder: Path) -> Info:
        train_tokenizer(survey.passages, config.vocab_size).save(folder)
        return {}

    name = _hash(config.vocab_size, survey.passages)
    tokenizer = open_entry(
        f"tokenizer-{name[:32]}", build, lambda folder, _: load_tokenizer(folder)
    )
    report("tokenizer", 1.0)
    return tokenizer


def _write_rows(
    folder: Path,
    config: DataConfig,
    survey: Survey,
    tokenizer: Tokenizer,
    report: Progress,
) -> Info:
    """Encodes all the text into `folder`, and returns the counts of each split."""
    digest = hashlib.sha256()
    num_bytes: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))
    num_documents = num_bytes.copy()
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(
                closing(RowWriter(folder / f"{split}.npy", config.seq_len, tokenizer))
            )
            for split in SPLITS
        }
        documents = iterate_documents(
            config.source,
            max_bytes=survey.max_bytes,
            on_bad_document=config.on_bad_document,
        )
        for texts in _group(documents):
            for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
                document = hash_document(text)
                split = survey.borders.choose(hash_to_fraction(document))
                digest.update(document)
                writers[split].append(ids)
                num_bytes[split] += len(text.encode())
                num_documents[split] += 1
            report("encode", min(sum(num_bytes.values()) / survey.num_bytes, 1.0))
        if digest.hexdigest() != survey.digest:
            name = show(config.source)
            raise DataError(f"{name} changed while it was read. Start again.")
        num_tokens = {split: writers[split].num_tokens for split in SPLITS}
        num_rows = {s: writers[s].finish(pad=s != "train") for s in SPLITS}
    if survey.borders.valid_below < 1.0:
        check_train_rows(num_rows["train"], num_tokens["train"], config.seq_len)
    return {
        "num_tokens": num_tokens,
        "num_bytes": num_bytes,
        "num_documents": num_documents,
    }


def _group(texts: Iterator[str]) -> Iterator[list[str]]:
    """Yields lists of documents that are worth encoding at once."""
    group, size = [], 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= _ENCODE_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps([FORMAT, *parts]).encode()).hexdigest()
