"""What general compressors make of the text that a model learns from."""

import dataclasses
import lzma
import shutil
import subprocess
import tempfile
from pathlib import Path

from slimjax.data.cache import Info, open_entry
from slimjax.data.corpus import Corpus
from slimjax.data.rows import Rows
from slimjax.data.tokenizer import Tokenizer
from slimjax.errors import DataError

ROWS_AT_ONCE = 4096
NO_ZSTD = "the program zstd is not installed"


@dataclasses.dataclass(frozen=True)
class CompressedSizes:
    """Bytes of the training text, as it is and compressed.

    Attributes:
        raw: UTF-8 bytes.
        xz: Bytes of ``xz -9e``.
        zstd: Bytes of ``zstd -19 --long``, or None where there is no such program.
    """

    raw: int
    xz: int
    zstd: int | None


def compress_train_text(corpus: Corpus) -> CompressedSizes:
    """Compresses the text of the train rows, or finds the sizes in the cache.

    It takes some seconds for each 10 MB, and holds the text in memory.
    """
    has_zstd = shutil.which("zstd") is not None

    def build(_: Path) -> Info:
        text = text_of_rows(corpus.train, corpus.tokenizer)
        zstd = count_zstd(text) if has_zstd else None
        return {"raw": len(text), "xz": count_xz(text), "zstd": zstd}

    name = f"compressed-{corpus.fingerprint[:32]}-{int(has_zstd)}"
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


def count_xz(text: bytes) -> int:
    """Returns the bytes of ``xz -9e``."""
    return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


def count_zstd(text: bytes) -> int:
    """Returns the bytes of ``zstd -19 --long``.

    Raises:
        DataError: If the program fails.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        command = ["zstd", "-19", "--long", "--quiet", "--stdout", file.name]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())
        raise DataError(f"zstd -19 --long fails: {reason}.")
    return len(done.stdout)
