"""A teacher's outcomes of rows on disk: written in pieces, read as memory maps.

A piece is one ``.npy`` file of records, one for each of its rows, with their checksums.
It is written beside its place and renamed into it, and never changed: so a kill loses
no more than the piece that was in the making, and what was read once is read again.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer

from slimjax.data.cache import find_cache
from slimjax.distill.outcomes import LOG_TYPE, Outcomes
from slimjax.errors import DataError
from slimjax.text.files import show

FORMAT = 1  # Part of every name: another way of telling outcomes counts it up.
_DRAFT = ".draft-"


def record_type(seq_len: int, top_k: int, vocab_size: int) -> np.dtype:
    """Returns the type of what is kept of a row.

    Examples:
        >>> record_type(seq_len=256, top_k=16, vocab_size=4096).itemsize
        16908
    """
    ids = np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)
    return np.dtype(
        [
            ("row", np.uint64),
            ("crc32", np.uint32),
            ("ids", ids, (seq_len, top_k)),
            ("logs", LOG_TYPE, (seq_len, top_k + 1)),
        ]
    )


def store_folder(teacher: str, corpus: str, top_k: int) -> Path:
    """Returns the folder in the cache of a teacher's outcomes of a corpus.

    Args:
        teacher: The teacher's digest, of shape and weights.
        corpus: The fingerprint of the corpus, of which the rows follow.
        top_k: Tokens that are outcomes of their own.
    """
    parts = json.dumps([FORMAT, teacher, corpus, top_k])
    return find_cache() / f"teacher-{hashlib.sha256(parts.encode()).hexdigest()[:32]}"


class OutcomeStore:
    """Outcomes of some of a corpus's rows, by the number of the row.

    Attributes:
        folder: Where the pieces are.
    """

    def __init__(self, folder: Path, record: np.dtype, num_rows: int):
        """Opens the pieces that are there.

        Args:
            folder: Where they are, or will be.
            record: See `record_type`.
            num_rows: Rows of the corpus, R.
        """
        self.folder, self._record = folder, record
        self._paths: list[Path] = []
        self._pieces: list[np.ndarray] = []
        self._piece_of = np.full(num_rows, -1, np.int32)
        self._place_in = np.zeros(num_rows, np.int64)
        self.refresh()

    def refresh(self) -> None:
        """Opens the pieces that have come since; of two of a row, the older counts."""
        for path in sorted(self.folder.glob("*.npy")):
            if path not in self._paths:
                self._open(path)

    def missing(self, rows: Integer[np.ndarray, " M"]) -> Integer[np.ndarray, " _"]:
        """Returns those of the rows that are not here."""
        return rows[~self._has(rows)]

    def read(self, rows: Integer[np.ndarray, " B"]) -> Outcomes:
        """Returns the outcomes of rows that are here, ``[B T k]`` and ``[B T k+1]``.

        Raises:
            DataError: If a piece is damaged; it is then out of the way.
        """
        found = np.empty(len(rows), self._record)
        for i, row in enumerate(rows):
            piece = self._piece_of[row]
            found[i] = self._pieces[piece][self._place_in[row]]
            if found[i]["row"] != row or found[i]["crc32"] != _checksum(found[i]):
                path = self._paths[piece]
                _remove(path)
                raise DataError(
                    f"The teacher's outcomes in {show(str(path))} are damaged, and are "
                    "removed. Run the "
                    "same command again to compute them."
                )
        return Outcomes(found["ids"].astype(np.int32), found["logs"])

    def add(self, rows: Integer[np.ndarray, " M"], outcomes: Outcomes) -> None:
        """Writes a piece, whole or not at all, and opens it.

        Args:
            rows: Numbers of the rows.
            outcomes: Theirs, ``[M T k]`` and ``[M T k+1]``.

        Raises:
            DataError: If it cannot be written.
        """
        records = np.zeros(len(rows), self._record)
        records["row"], (records["ids"], records["logs"]) = rows, outcomes
        records["crc32"] = [_checksum(record) for record in records]
        try:
            self._write(records)
        except OSError as error:
            raise DataError(
                f"The teacher's outcomes cannot be written to {show(str(self.folder))}:"
                f" {error.strerror}. Set SLIMJAX_CACHE to a folder with room, or lower "
                "config.distill.top_k."
            ) from None
        self.refresh()

    def remove_leftovers(self) -> None:
        """Removes what a kill left half written; no other process may write now."""
        for draft in self.folder.glob(f"{_DRAFT}*"):
            draft.unlink(missing_ok=True)

    def _has(self, rows: Integer[np.ndarray, " M"]) -> Bool[np.ndarray, " M"]:
        return self._piece_of[rows] >= 0

    def _write(self, records: np.ndarray) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        taken = [int(p.name.partition("-")[0]) for p in self.folder.glob("*-*.npy")]
        draft = tempfile.NamedTemporaryFile(  # noqa: SIM115 - renamed, not removed.
            dir=self.folder, prefix=_DRAFT, delete=False
        )
        try:
            with draft as file:
                np.save(file, records, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(draft.name, 0o644)
            number = max(taken, default=-1) + 1
            name = f"{number:08d}-{Path(draft.name).name.removeprefix(_DRAFT)}.npy"
            os.replace(draft.name, self.folder / name)
        except BaseException:
            Path(draft.name).unlink(missing_ok=True)
            raise

    def _open(self, path: Path) -> None:
        """Opens a piece; one that is damaged is removed, as if it had not been."""
        try:
            piece = np.load(path, mmap_mode="r", allow_pickle=False)
            rows = piece["row"].astype(np.int64)
            if piece.dtype != self._record or np.any(rows >= len(self._piece_of)):
                raise ValueError
        except (OSError, EOFError, ValueError, IndexError):
            _remove(path)
            return
        new = ~self._has(rows)
        self._piece_of[rows[new]] = len(self._paths)
        self._place_in[rows[new]] = np.flatnonzero(new)
        self._pieces.append(piece)
        self._paths.append(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _checksum(record: np.void) -> int:
    """Returns the checksum of a record's content and number."""
    start = int(record["row"]) & 0xFFFFFFFF
    return zlib.crc32(record["logs"].tobytes(), zlib.crc32(record["ids"], start))
