"""Tokenizers of sentencepiece: trained here, or read from other files."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

import numpy as np

from slimjax.data.pieces import SPACE
from slimjax.data.tokens import (
    Ids,
    Sizes,
    check_ids,
    check_text,
    complete_special_ids,
)
from slimjax.errors import DataError
from slimjax.text.files import show

SENTENCEPIECE_FILE = "tokenizer.model"
# A protobuf field that sentencepiece passes over: number 2000, 32 bytes, a SHA-256.
_SEAL = b"\x82\x7d\x20"


class SentencePieceTokenizer:
    """Pieces that sentencepiece has learned.

    A tokenizer that was trained here has all 256 bytes among its pieces, and loses
    nothing. One of another file may change a text (capitals, spaces, rare signs), and
    may lack pad, bos or eos (see `slimjax.data.tokens.complete_special_ids`).

    Attributes:
        vocab_size: Number of ids, V.
        special: Ids of pad, bos, eos and unk.
        fingerprint: SHA-256 over the (piece, score) rows: equal for equal tokenizers.
    """

    def __init__(self, model: bytes):
        """Takes a serialized sentencepiece model.

        Raises:
            DataError: If it is no such model.
        """
        import sentencepiece

        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataError("The tokenizer is not a sentencepiece model.") from error
        self._model = model
        self._num_pieces = int(self._processor.vocab_size())
        self.special, self.vocab_size = self._find_special_ids()
        self.pad_id, self.bos_id = self.special["pad"], self.special["bos"]
        self.eos_id = self.special["eos"]
        self._bytes = self._list_bytes()
        self._sizes = np.array([len(piece) for piece in self._bytes], np.int32)
        self.fingerprint = self._hash_pieces()

    def encode(self, text: str) -> Ids:
        """Returns the ids of `text`, none of them special but unk."""
        return self.encode_batch([text], num_threads=1)[0]

    def encode_batch(self, texts: Sequence[str], num_threads: int = 2) -> list[Ids]:
        """Returns the ids of each text.

        Raises:
            DataError: If a text holds half a character (a lone surrogate).
        """
        # U+2581 would come back as a space: it goes in as its three bytes, if it can.
        whole = [check_text(text).decode() for text in texts]
        has_bytes = len(self._byte_id) == 256
        parts = [text.split(SPACE) if has_bytes else [text] for text in whole]
        flat = [part for row in parts for part in row]
        encoded = iter(
            self._processor.encode(flat, num_threads=num_threads, return_type="numpy")
        )
        rows = [[next(encoded) for _ in row] for row in parts]
        return [self._join(row) for row in rows]

    def encode_with_bytes(self, texts: Sequence[str]) -> list[tuple[Ids, Sizes]]:
        """Returns the ids of each text, and the raw bytes each of them stands for."""
        rows = []
        for text, ids in zip(texts, self.encode_batch(texts), strict=True):
            sizes = self._sizes[ids]
            if sizes.sum() != len(text.encode()):  # The text was changed.
                sizes = self._find_sizes(text, ids)
            rows.append((ids, sizes))
        return rows

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Returns the text of `ids`, with U+FFFD for bytes that are not UTF-8."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[SupportsIndex]) -> bytes:
        """Returns the bytes of `ids`; pad, bos, eos and unk have none."""
        array = check_ids(ids, self.vocab_size)
        return b"".join([self._bytes[i] for i in array.tolist()])

    def to_proto(self) -> bytes:
        """Returns the serialized sentencepiece model."""
        return self._model

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``tokenizer.model`` into `folder`: readable by sentencepiece, too."""
        seal = _SEAL + hashlib.sha256(self._model).digest()
        with open(os.path.join(folder, SENTENCEPIECE_FILE), "wb") as file:
            file.write(self._model + seal)

    def _find_special_ids(self) -> tuple[dict[str, int], int]:
        names = ("pad", "bos", "eos", "unk")
        ids = {name: int(getattr(self._processor, f"{name}_id")()) for name in names}
        known = {name: number if number >= 0 else None for name, number in ids.items()}
        return complete_special_ids(known, self._num_pieces)

    def _find_sizes(self, text: str, ids: Ids) -> Sizes:
        """Returns the bytes of each token by its place in the text."""
        proto: Any = self._processor.encode(text, return_type="proto")
        ends = [piece.end for piece in proto.pieces]  # In bytes.
        if len(ends) != len(ids):  # The text held signs that went in as bytes.
            ends = np.minimum(np.cumsum(self._sizes[ids]), len(text.encode()))
        reached = np.maximum.accumulate(np.array([0, *ends], np.int64))
        return np.diff(reached).astype(np.int32)

    def _join(self, rows: list[Ids]) -> Ids:
        if len(rows) == 1:
            return rows[0].astype(np.int32)
        sign = np.array([self._byte_id[b] for b in SPACE.encode()], np.int32)
        joined = [part for row in rows for part in (sign, row)][1:]
        return np.concatenate(joined).astype(np.int32)

    def _list_bytes(self) -> list[bytes]:
        """Returns the bytes of each id, and finds the pieces of the 256 bytes."""
        processor, pieces = self._processor, []
        self._byte_id: dict[int, int] = {}
        for i in range(self._num_pieces):
            piece = processor.id_to_piece(i)
            if processor.is_control(i) or processor.is_unknown(i):
                pieces.append(b"")
            elif processor.is_byte(i):
                self._byte_id[int(piece[3:5], 16)] = i
                pieces.append(bytes([int(piece[3:5], 16)]))
            else:
                pieces.append(piece.replace(SPACE, " ").encode())
        return pieces + [b""] * (self.vocab_size - self._num_pieces)

    def _hash_pieces(self) -> str:
        rows = [
            (self._processor.id_to_piece(i), self._processor.get_score(i))
            for i in range(self._num_pieces)
        ]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def unseal(data: bytes, path: str) -> bytes:
    """Returns a saved model without the seal at its end, which must fit it.

    Raises:
        DataError: If it does not.
    """
    size = len(data) - len(_SEAL) - 32
    model, seal = data[: max(size, 0)], data[max(size, 0) :]
    if not model or seal != _SEAL + hashlib.sha256(model).digest():
        raise DataError(f"{show(path)} is damaged, or was not written by slimjax.")
    return model
