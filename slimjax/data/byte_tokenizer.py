"""A tokenizer without training: one token for each byte."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import SupportsIndex

import numpy as np

from slimjax.data.tokens import Ids, Sizes, check_ids, check_text

BYTES_FILE = "bytes.json"
FORMAT = {"kind": "bytes", "version": 1}


class BytesTokenizer:
    """One token a byte: ids 3 to 258, after pad, bos and eos."""

    vocab_size = 259
    pad_id, bos_id, eos_id = 0, 1, 2
    fingerprint = hashlib.sha256(b"slimjax bytes 1").hexdigest()

    @property
    def special(self) -> dict[str, int]:
        """Ids of pad, bos and eos."""
        return {"pad": self.pad_id, "bos": self.bos_id, "eos": self.eos_id}

    def encode(self, text: str) -> Ids:
        """Returns the ids of the UTF-8 bytes of `text`."""
        return np.frombuffer(check_text(text), np.uint8).astype(np.int32) + np.int32(3)

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
        array = check_ids(ids, self.vocab_size)
        return (array[array >= 3] - 3).astype(np.uint8).tobytes()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``bytes.json`` into `folder`."""
        with open(os.path.join(folder, BYTES_FILE), "w", encoding="utf-8") as file:
            json.dump(FORMAT, file)
