"""Rows of tokens on disk: written as a stream, read as a memory map.

A split's documents, each followed by eos, are one long stream; a row is the next
`seq_len` tokens of it, with no bos and no overlap (the model shifts right by itself).
Beside the rows stands how many raw bytes of text the targets of each of them are, so
that any part of a split has a number of bits per byte. Of held-out splits the tokens
and bytes of each document are kept, too, so that each has an error of its own.
"""

import os
from array import array
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64, Integer, UInt16, UInt32

from slimjax.data.tokenizer import Tokenizer
from slimjax.data.tokens import adds_bos
from slimjax.errors import DataError

Rows = UInt16[np.ndarray, "_R T"] | UInt32[np.ndarray, "_R T"]


class RowWriter:
    """Writes a stream of tokens as ``[R, seq_len]`` into one ``.npy`` file.

    Attributes:
        num_tokens: Tokens written so far, eos counted.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        seq_len: int,
        tokenizer: Tokenizer,
        *,
        held_out: bool,
    ):
        """Opens `path` and leaves room for the header, which knows R in the end.

        Args:
            path: The file of rows.
            seq_len: Tokens of a row.
            tokenizer: Knows the special ids.
            held_out: Whether the last, partial row is padded in the end, and documents
                are kept; else that row is dropped.
        """
        self._seq_len, self._held_out = seq_len, held_out
        self._dtype = np.dtype(np.uint16 if tokenizer.vocab_size < 65536 else np.uint32)
        self._pad_id, self._adds_bos = tokenizer.pad_id, adds_bos(tokenizer.special)
        self._eos = np.array([tokenizer.eos_id], self._dtype).tobytes()
        self._path = Path(path)
        self._file = self._path.open("wb")  # Closed by `finish`.
        self._start = self._write_header(0)
        self._row_bytes, self._documents = array("q"), array("q")
        self.num_tokens = 0

    def append(self, ids: Int32[np.ndarray, " N"], sizes: Integer[np.ndarray, " M"]):
        """Writes one document and its eos.

        Args:
            ids: Its tokens.
            sizes: The raw bytes that each of them and eos stand for, ``M = N + 1``.
        """
        self._file.write(ids.astype(self._dtype).tobytes() + self._eos)
        self._count(sizes)
        self.num_tokens += len(ids) + 1

    def finish(self) -> int:
        """Pads the last, partial row, or drops it; returns the number of rows."""
        num_rows, rest = divmod(self.num_tokens, self._seq_len)
        if self._held_out:
            sizes = np.array(self._documents, np.int64).reshape(-1, 2)
            np.save(documents_path(self._path), sizes)
        if self._held_out and rest:
            missing = np.full(self._seq_len - rest, self._pad_id, self._dtype)
            self._file.write(missing.tobytes())
            num_rows += 1
        num_bytes = num_rows * self._seq_len * self._dtype.itemsize
        self._file.truncate(self._start + num_bytes)
        self._file.seek(0)
        if self._write_header(num_rows) != self._start:
            raise AssertionError("The .npy header has grown.")  # NumPy leaves room.
        self._file.close()
        np.save(bytes_path(self._path), np.array(self._row_bytes[:num_rows], np.int64))
        return num_rows

    def close(self):
        """Gives the file up, finished or not."""
        self._file.close()

    def _count(self, sizes: Integer[np.ndarray, " M"]):
        """Adds the bytes of a document and its eos to those of its rows."""
        places = self.num_tokens + np.arange(len(sizes))
        first = self.num_tokens // self._seq_len
        if not self._adds_bos:  # The first token of a row is read, and no target.
            sizes = np.where(places % self._seq_len == 0, 0, sizes)
        if self._held_out:
            self._documents.extend((len(sizes), int(sizes.sum())))
        rows = places // self._seq_len - first
        counts = np.bincount(rows, sizes).astype(np.int64).tolist()
        if first < len(self._row_bytes):
            self._row_bytes[first] += counts.pop(0)
        self._row_bytes.extend(counts)

    def _write_header(self, num_rows: int) -> int:
        shape, descr = (num_rows, self._seq_len), self._dtype.str
        header = {"shape": shape, "fortran_order": False, "descr": descr}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()


def open_rows(path: str | os.PathLike[str]) -> Rows:
    """Opens rows as a memory map that cannot be written to."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def bytes_path(path: str | os.PathLike[str]) -> Path:
    """Returns the file of the bytes of each row, beside the rows' own file."""
    return Path(path).with_suffix(".bytes.npy")


def documents_path(path: str | os.PathLike[str]) -> Path:
    """Returns the file of the documents in the rows, beside the rows' own file."""
    return Path(path).with_suffix(".documents.npy")


def open_documents(path: str | os.PathLike[str]) -> Int64[np.ndarray, "D 2"]:
    """Returns the tokens, eos counted, and the raw bytes of each document of rows."""
    return np.load(documents_path(path), mmap_mode="r", allow_pickle=False)


def open_row_bytes(path: str | os.PathLike[str]) -> Int64[np.ndarray, " R"]:
    """Returns the raw bytes of text that each row of a file holds."""
    return np.load(bytes_path(path), mmap_mode="r", allow_pickle=False)


def check_train_rows(num_rows: int, num_tokens: int, seq_len: int):
    """Refuses a train split that does not fill one row.

    Raises:
        DataError: If `num_rows` is 0.
    """
    if num_rows == 0:
        raise DataError(
            f"config.data.seq_len={seq_len} is more than the {num_tokens} tokens "
            "of the train split. Make it shorter, or add text."
        )
