"""Rows of tokens on disk: written as a stream, read as a memory map.

A split's documents, each followed by eos, are one long stream; a row is the next
`seq_len` tokens of it, with no bos and no overlap (the model shifts right by itself).
"""

import os

import numpy as np
from jaxtyping import Int32, UInt16, UInt32

from slimjax.data.tokenizer import Tokenizer
from slimjax.errors import DataError

Rows = UInt16[np.ndarray, "_R T"] | UInt32[np.ndarray, "_R T"]


class RowWriter:
    """Writes a stream of tokens as ``[R, seq_len]`` into one ``.npy`` file.

    Attributes:
        num_tokens: Tokens written so far, eos counted.
    """

    def __init__(
        self, path: str | os.PathLike[str], seq_len: int, tokenizer: Tokenizer
    ):
        """Opens `path` and leaves room for the header, which knows R in the end."""
        self._seq_len = seq_len
        self._dtype = np.dtype(np.uint16 if tokenizer.vocab_size < 65536 else np.uint32)
        self._pad_id = tokenizer.pad_id
        self._eos = np.array([tokenizer.eos_id], self._dtype).tobytes()
        self._file = open(path, "wb")  # noqa: SIM115 - closed by `finish`.
        self._start = self._write_header(0)
        self.num_tokens = 0

    def append(self, ids: Int32[np.ndarray, " N"]):
        """Writes one document and its eos."""
        self._file.write(ids.astype(self._dtype).tobytes() + self._eos)
        self.num_tokens += len(ids) + 1

    def finish(self, *, pad: bool) -> int:
        """Pads the last, partial row, or drops it; returns the number of rows."""
        num_rows, rest = divmod(self.num_tokens, self._seq_len)
        if pad and rest:
            missing = np.full(self._seq_len - rest, self._pad_id, self._dtype)
            self._file.write(missing.tobytes())
            num_rows += 1
        num_bytes = num_rows * self._seq_len * self._dtype.itemsize
        self._file.truncate(self._start + num_bytes)
        self._file.seek(0)
        if self._write_header(num_rows) != self._start:
            raise AssertionError("The .npy header has grown.")  # NumPy leaves room.
        self._file.close()
        return num_rows

    def close(self):
        """Gives the file up, finished or not."""
        self._file.close()

    def _write_header(self, num_rows: int) -> int:
        shape, descr = (num_rows, self._seq_len), self._dtype.str
        header = {"shape": shape, "fortran_order": False, "descr": descr}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()


def open_rows(path: str | os.PathLike[str]) -> Rows:
    """Opens rows as a memory map that cannot be written to."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


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
