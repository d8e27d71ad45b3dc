"""From a config to rows for language modelling: text read twice, rows in the cache.

The first pass hashes the documents, which decides the splits and names the result; the
second one encodes them, unless the cache has the rows already.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from slimjax.data.cache import Info, hash_json, open_entry
from slimjax.data.config import DataConfig
from slimjax.data.dataset import Dataset, Field
from slimjax.data.rows import (
    Rows,
    RowWriter,
    check_train_rows,
    open_documents,
    open_row_bytes,
    open_rows,
)
from slimjax.data.tokenizer import Tokenizer
from slimjax.data.tokenizer_choice import choose_tokenizer
from slimjax.data.tokens import adds_bos
from slimjax.errors import DataError
from slimjax.text.files import show
from slimjax.text.sources import name_sources
from slimjax.text.splits import (
    SPLITS,
    SplitBorders,
    hash_document,
)
from slimjax.text.survey import Progress, Survey, survey_documents

FORMAT = 1  # Part of every fingerprint: other rows of the same text count it up.
ROWS_FORMAT = 3  # Part of a name in the cache: other files of the same rows count up.
COUNTED = ("tokens", "bytes", "documents")
NUM_DECODED = 32  # Documents that are decoded again, to see whether text is kept.
_UNDIVIDED: dict[str, Any] = {
    **{"valid_fraction": 0.0, "test_fraction": 0.0, "num_folds": 1, "fold": 0},
    **{"valid_source": "", "test_source": ""},
}
_ENCODE_CHARACTERS = 1 << 20  # Text encoded at once: enough for two threads.


def load_language_dataset(
    config: DataConfig,
    *,
    tokenizer: Tokenizer | None = None,
    all_valid: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Reads, splits and encodes a corpus, or finds it in the cache.

    The one field is ``tokens``, int32 ``[T]``. Rows of train have no padding; of valid
    and test the last row may have some.

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
        config = dataclasses.replace(config, **_UNDIVIDED)
    survey = _survey(config, report)
    if all_valid:
        survey = dataclasses.replace(survey, borders=SplitBorders(0.0, 1.0))
    tokenizer = tokenizer or choose_tokenizer(config, survey.passages, report)
    fingerprint = hash_json(
        FORMAT,
        [survey.digest, survey.borders.identity, config.seq_len],
        [config.valid_fraction, config.test_fraction, tokenizer.fingerprint],
    )

    left_out = survey.skips.describe("config.data.on_bad_document", "documents")

    def build(folder: Path) -> Info:
        return _write_rows(folder, config, survey, tokenizer, report)

    def load(folder: Path, info: Info) -> Dataset:
        return Dataset(
            **_open_splits(
                folder, info["tokens"], int(not adds_bos(tokenizer.special))
            ),
            **_describe_tokens(tokenizer, config.seq_len),
            counts={name: info[name] for name in COUNTED}
            | {"skipped": dict(survey.skips.reasons)},
            fingerprint=fingerprint,
            source=name_sources(config.source),
            notes=_write_notes(config, left_out, info, survey.num_copies),
        )

    dataset = open_entry(f"rows{ROWS_FORMAT}-{fingerprint[:32]}", build, load)
    report("encode", 1.0)
    return dataset


def _survey(config: DataConfig, report: Progress) -> Survey:
    """Returns what the first pass over the text finds out."""
    return survey_documents(
        config.reading(),
        valid_fraction=config.valid_fraction,
        test_fraction=config.test_fraction,
        wants_passages=config.tokenizer == "sentencepiece",
        report=report,
        folds=(config.num_folds, config.fold),
    )


def _describe_tokens(tokenizer: Tokenizer, seq_len: int) -> dict[str, Any]:
    """Returns what a dataset has to know of its one field."""
    field = Field((seq_len,), "int32", ("positions",), fill=tokenizer.pad_id)
    return {
        "fields": {"tokens": field},
        "sizes": {"vocab": tokenizer.vocab_size},
        "lengths": {"": seq_len},
        "special": dict(tokenizer.special),
        "codecs": {"tokens": tokenizer},
    }


def _write_notes(
    config: DataConfig, left_out: str, info: Info, num_copies: int
) -> tuple[str, ...]:
    """Returns what a user should know of the data, one line each."""
    lossy = copies = ""
    if num_copies:
        copies = f"Left out of train: {num_copies:,} copies of valid or test documents."
    if not info.get("is_lossless", True):
        lossy = (
            f"config.data.tokenizer={show(config.tokenizer)} changes the text, such "
            "as capitals, spaces or rare signs: bits per byte are of what it keeps."
        )
    return tuple(note for note in (left_out, copies, lossy) if note)


def _open_splits(
    folder: Path, num_tokens: dict[str, int], num_read: int
) -> dict[str, Any]:
    """Opens rows, and counts the bytes and the targets of each.

    Args:
        folder: Where they are.
        num_tokens: Tokens of each split.
        num_read: First tokens of a row that are only read.
    """
    rows = {split: open_rows(folder / f"{split}.npy") for split in SPLITS}
    held_out = {split: folder / f"{split}.npy" for split in SPLITS if split != "train"}
    return {
        "documents": {split: open_documents(path) for split, path in held_out.items()},
        "splits": {split: {"tokens": array} for split, array in rows.items()},
        "row_counts": {
            split: {
                "bytes": open_row_bytes(folder / f"{split}.npy"),
                "targets": np.maximum(
                    _count_targets(array, num_tokens[split]) - num_read, 0
                ),
            }
            for split, array in rows.items()
        },
    }


def _count_targets(rows: Rows, num_tokens: int) -> Int64[np.ndarray, " R"]:
    """Returns the tokens of each row; only the last one may have padding."""
    num_rows, seq_len = rows.shape
    targets = np.full(num_rows, seq_len, np.int64)
    if num_rows:
        targets[-1] = min(num_tokens - (num_rows - 1) * seq_len, seq_len)
    return targets


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
    num_documents, is_lossless = num_bytes.copy(), True
    open_writer = lambda split: RowWriter(
        folder / f"{split}.npy", config.seq_len, tokenizer, held_out=split != "train"
    )
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(closing(open_writer(split))) for split in SPLITS
        }
        for group in _group(_choose(config, survey, digest)):
            encoded = tokenizer.encode_with_bytes([text for _, text in group])
            for (split, text), (ids, sizes) in zip(group, encoded, strict=True):
                size = len(text.encode())
                rest = size - int(sizes.sum())  # What no token stands for, at the end.
                writers[split].append(ids, np.append(sizes, rest))
                num_bytes[split] += size
                if sum(num_documents.values()) < NUM_DECODED:
                    is_lossless &= _is_kept(tokenizer.decode_bytes(ids), text)
                num_documents[split] += 1
            report("encode", min(sum(num_bytes.values()) / survey.num_bytes, 1.0))
        if digest.hexdigest() != survey.digest:
            name = show(name_sources(config.source))
            raise DataError(f"{name} changed while it was read. Start again.")
        num_tokens = {split: writers[split].num_tokens for split in SPLITS}
        num_rows = {split: writers[split].finish() for split in SPLITS}
    if survey.borders.valid_below < 1.0:
        check_train_rows(num_rows["train"], num_tokens["train"], config.seq_len)
    counts = {"tokens": num_tokens, "bytes": num_bytes, "documents": num_documents}
    return counts | {"is_lossless": is_lossless}


def _is_kept(decoded: bytes, text: str) -> bool:
    """Returns whether a text comes back, whatever spaces are at its start."""
    return decoded.lstrip(b" ") == text.encode().lstrip(b" ")


def _choose(
    config: DataConfig, survey: Survey, digest: Any
) -> Iterator[tuple[str, str]]:
    """Yields the documents with their splits, and adds them to a digest."""
    for role, text in config.reading().documents(survey.max_bytes):
        document = hash_document(text)
        split = survey.choose(role, document)
        if split is not None:
            digest.update((b"" if role == "train" else role.encode()) + document)
            yield split, text


def _group(texts: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Yields lists of documents that are worth encoding at once."""
    group, size = [], 0
    for split, text in texts:
        group.append((split, text))
        size += len(text)
        if size >= _ENCODE_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group
