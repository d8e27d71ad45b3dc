"""Text to numbers and back, without loss: sentencepiece, or plain bytes.

Both kinds share an interface: `vocab_size`, the ids of pad, bos and eos, `encode`,
`encode_batch`, `decode`, `decode_bytes`, `fingerprint` and `save`. Neither adds bos or
eos by itself, and no text encodes to them.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Protocol, SupportsIndex, runtime_checkable

import numpy as np
from jaxtyping import Int32, Int64

from slimjax.data.pieces import SPACE, train_pieces
from slimjax.errors import DataError
from slimjax.text.files import show

Ids = Int32[np.ndarray, "_T"]
Sizes = Int32[np.ndarray, "_T"]

SENTENCEPIECE_FILE = "tokenizer.model"
BYTES_FILE = "tokenizer.json"
_BYTES_FORMAT = {"kind": "bytes", "version": 1}
# A protobuf field that sentencepiece passes over: number 2000, 32 bytes, a SHA-256.
_SEAL = b"\x82\x7d\x20"


@runtime_checkable
class Tokenizer(Protocol):
    """What every tokenizer can do."""

    vocab_size: int
    pad_id: int
    bos_id: int
    eos_id: int
    fingerprint: str

    def encode(self, text: str) -> Ids:
        """Returns the ids of `text`, which `decode` turns back into `text`."""
        ...

    def encode_batch(self, texts: Sequence[str], num_threads: int = 2) -> list[Ids]:
        """Returns the ids of each text."""
        ...

    def encode_with_bytes(self, texts: Sequence[str]) -> list[tuple[Ids, Sizes]]:
        """Returns the ids of each text, and the raw bytes each of them stands for.

        The bytes of a text's tokens sum to the bytes of its UTF-8.
        """
        ...

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Returns the text of `ids`, with U+FFFD for bytes that are not UTF-8."""
        ...

    def decode_bytes(self, ids: Iterable[SupportsIndex]) -> bytes:
        """Returns the bytes of `ids`; pad, bos, eos and unk have none."""
        ...

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the tokenizer's one file into `folder`, which exists."""
        ...


class BytesTokenizer:
    """One token a byte: ids 3 to 258, after pad, bos and eos."""

    vocab_size = 259
    pad_id, bos_id, eos_id = 0, 1, 2
    fingerprint = hashlib.sha256(b"slimjax bytes 1").hexdigest()

    def encode(self, text: str) -> Ids:
        """Returns the ids of the UTF-8 bytes of `text`."""
        return np.frombuffer(_to_utf8(text), np.uint8).astype(np.int32) + np.int32(3)

    def encode_batch(self, texts: Sequence[str], num_threads: int = 2) -> list[Ids]:
        """Returns the ids of each text; one thread is enough."""
        del num_threads
        return [self.encode(text) for text in texts]

    def encode_with_bytes(self, texts: Sequence[str]) -> list[tuple[Ids, Sizes]]:
        """Returns the ids of each text, and a 1 for each of them."""
        return [(ids, np.ones_like(ids)) for ids in self.encode_batch(texts)]

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Returns the text of `ids`, with U+FFFD for bytes that are not UTF-8."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[SupportsIndex]) -> bytes:
        """Returns the bytes of `ids`; pad, bos and eos have none."""
        array = _check_ids(ids, self.vocab_size)
        return (array[array >= 3] - 3).astype(np.uint8).tobytes()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``tokenizer.json`` into `folder`."""
        with open(os.path.join(folder, BYTES_FILE), "w", encoding="utf-8") as file:
            json.dump(_BYTES_FORMAT, file)


class SentencePieceTokenizer:
    """Pieces that sentencepiece has learned, with all 256 bytes among them.

    Attributes:
        vocab_size: Number of pieces, V.
        fingerprint: SHA-256 over the (piece, score) rows: equal for equal tokenizers.
    """

    pad_id, bos_id, eos_id, unk_id = 0, 1, 2, 3

    def __init__(self, model: bytes):
        """Takes a serialized sentencepiece model, as `train_tokenizer` makes it.

        Raises:
            DataError: If it is no such model.
        """
        import sentencepiece

        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataError("The tokenizer is not a sentencepiece model.") from error
        self._model = model
        self.vocab_size = int(self._processor.vocab_size())
        self._bytes = self._list_bytes()
        self._sizes = np.array([len(piece) for piece in self._bytes], np.int32)
        self.fingerprint = self._hash_pieces()

    def encode(self, text: str) -> Ids:
        """Returns the ids of `text`, which `decode` turns back into `text`."""
        return self.encode_batch([text], num_threads=1)[0]

    def encode_batch(self, texts: Sequence[str], num_threads: int = 2) -> list[Ids]:
        """Returns the ids of each text.

        Raises:
            DataError: If a text holds half a character (a lone surrogate).
        """
        # U+2581 would come back as a space: it goes in as its three bytes.
        parts = [_to_utf8(text).decode().split(SPACE) for text in texts]
        flat = [part for row in parts for part in row]
        encoded = iter(
            self._processor.encode(flat, num_threads=num_threads, return_type="numpy")
        )
        rows = [[next(encoded) for _ in row] for row in parts]
        return [self._join(row) for row in rows]

    def encode_with_bytes(self, texts: Sequence[str]) -> list[tuple[Ids, Sizes]]:
        """Returns the ids of each text, and the raw bytes each of them stands for."""
        return [(ids, self._sizes[ids]) for ids in self.encode_batch(texts)]

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Returns the text of `ids`, with U+FFFD for bytes that are not UTF-8."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[SupportsIndex]) -> bytes:
        """Returns the bytes of `ids`; pad, bos, eos and unk have none."""
        array = _check_ids(ids, self.vocab_size)
        return b"".join([self._bytes[i] for i in array.tolist()])

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``tokenizer.model`` into `folder`: readable by sentencepiece, too."""
        seal = _SEAL + hashlib.sha256(self._model).digest()
        with open(os.path.join(folder, SENTENCEPIECE_FILE), "wb") as file:
            file.write(self._model + seal)

    def _join(self, rows: list[Ids]) -> Ids:
        sign = np.array([self._byte_id[b] for b in SPACE.encode()], np.int32)
        joined = [part for row in rows for part in (sign, row)][1:]
        return np.concatenate(joined).astype(np.int32)

    def _list_bytes(self) -> list[bytes]:
        """Returns the bytes of each piece, and finds the pieces of the 256 bytes."""
        processor, pieces = self._processor, []
        self._byte_id: dict[int, int] = {}
        for i in range(self.vocab_size):
            piece = processor.id_to_piece(i)
            if processor.is_control(i) or processor.is_unknown(i):
                pieces.append(b"")
            elif processor.is_byte(i):
                self._byte_id[int(piece[3:5], 16)] = i
                pieces.append(bytes([int(piece[3:5], 16)]))
            else:
                pieces.append(piece.replace(SPACE, " ").encode())
        specials = [processor.pad_id(), processor.bos_id(), processor.eos_id()]
        if len(self._byte_id) != 256 or [*specials, processor.unk_id()] != [0, 1, 2, 3]:
            raise DataError("The tokenizer lacks byte pieces, or has other specials.")
        if b" " not in pieces:
            raise DataError("The tokenizer lacks a piece for the space.")
        return pieces

    def _hash_pieces(self) -> str:
        rows = [
            (self._processor.id_to_piece(i), self._processor.get_score(i))
            for i in range(self.vocab_size)
        ]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def train_tokenizer(lines: Iterable[str], vocab_size: int) -> SentencePieceTokenizer:
    """Trains a tokenizer of exactly `vocab_size` pieces; same lines, same tokenizer.

    Args:
        lines: Lines or longer passages, with their newlines.
        vocab_size: Number of pieces, with 4 specials and 256 bytes.

    Raises:
        ConfigError: If the text does not support so many; it names the most.
    """
    return SentencePieceTokenizer(train_pieces(lines, vocab_size))


def load_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """Loads what a tokenizer's `save` wrote into `folder`.

    Raises:
        DataError: If there is no tokenizer, or a damaged one.
    """
    path = os.path.join(folder, SENTENCEPIECE_FILE)
    is_bytes = not os.path.exists(path)
    if is_bytes:
        path = os.path.join(folder, BYTES_FILE)
    try:
        with open(path, "rb") as file:
            data = file.read()
        if not is_bytes:
            return SentencePieceTokenizer(_unseal(data, path))
        if json.loads(data) != _BYTES_FORMAT:
            raise DataError(f"{show(path)} is not a tokenizer of this version.")
        return BytesTokenizer()
    except (FileNotFoundError, NotADirectoryError):
        folder = show(os.fspath(folder))
        raise DataError(f"{folder} holds no {SENTENCEPIECE_FILE}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{show(path)} is damaged: {show(str(error))}.") from None


def _unseal(data: bytes, path: str) -> bytes:
    """Returns the model without the seal at its end, which must fit it."""
    size = len(data) - len(_SEAL) - 32
    model, seal = data[: max(size, 0)], data[max(size, 0) :]
    if not model or seal != _SEAL + hashlib.sha256(model).digest():
        raise DataError(f"{show(path)} is damaged, or was not written by slimjax.")
    return model


def _to_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        half = f"half a character, {text[error.start]!a}, at {error.start}"
        raise DataError(f"The text holds {half}; it cannot be encoded.") from None


def _check_ids(
    ids: Iterable[SupportsIndex], vocab_size: int
) -> Int64[np.ndarray, " T"]:
    array = np.fromiter(ids, np.int64) if not hasattr(ids, "__len__") else ids
    array = np.asarray(array).reshape(-1).astype(np.int64)
    if array.size and not 0 <= array.min() <= array.max() < vocab_size:
        bad = array[(array < 0) | (array >= vocab_size)][0]
        raise DataError(f"id {bad} is not among the tokenizer's {vocab_size}.")
    return array
