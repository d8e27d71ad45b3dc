"""The training text of a corpus, and its sizes under general compressors."""

import dataclasses
from pathlib import Path

from slimjax.data.cache import Info, open_entry
from slimjax.data.dataset import Dataset
from slimjax.data.rows import Rows
from slimjax.data.tokenizer import Tokenizer
from slimjax.text.compressors import CompressedSizes, compress, has_zstd

ROWS_AT_ONCE = 4096


def compress_train_text(data: Dataset) -> CompressedSizes:
    """Compresses the text of the train rows, or finds the sizes in the cache.

    It takes some seconds for each 10 MB, and holds the text in memory.
    """

    def build(_: Path) -> Info:
        text = text_of_rows(data.splits["train"]["tokens"], data.tokenizer)
        return dataclasses.asdict(compress(text))

    name = f"compressed-{data.fingerprint[:32]}-{int(has_zstd())}"
    return open_entry(name, build, lambda _, info: CompressedSizes(**info))


def text_of_rows(rows: Rows, tokenizer: Tokenizer) -> bytes:
    """Returns the UTF-8 of all rows, one document after the other.

    Ends of documents have no byte, which favours the compressors: a model is charged
    for saying where a document ends.
    """
    starts = range(0, len(rows), ROWS_AT_ONCE)
    return b"".join(
        tokenizer.decode_bytes(rows[i : i + ROWS_AT_ONCE].reshape(-1)) for i in starts
    )
