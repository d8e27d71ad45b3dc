"""Rows of tokens encoded anew by a tokenizer with fewer entries: the same bytes.

A row is a part of a text, cut anywhere. So no space is put before it, and the bytes of
half a character are spelled one by one. Tokens that stand for no text, such as the end
of a document, become their new ids.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.data.piece_bytes import byte_alphabet
from slimjax.data.tokens import Ids

_HALVES = re.compile("([\udc80-\udcff]+)")  # As `surrogateescape` writes bytes.


class Reencoder:
    """From the ids of a tokenizer to those of one with fewer entries."""

    def __init__(self, whole: JsonTokenizer, small: JsonTokenizer, kept: np.ndarray):
        """Prepares both.

        Args:
            whole: The old tokenizer.
            small: The new one.
            kept: Old ids of the new one's entries.
        """
        self._whole = whole
        self._new_ids = np.full(whole.vocab_size, -1)
        self._new_ids[kept] = np.arange(len(kept))
        self._is_silent = np.array(
            [not whole.decode_bytes([i]) for i in range(whole.vocab_size)]
        )
        content = _without_prefix(json.loads(small.to_json()))
        size = small.vocab_size
        self._parts = JsonTokenizer(content, dict(small.special), vocab_size=size)
        ids = {name: number for number, name in small.names.items()}
        self._byte_ids = {
            byte: ids.get(sign, ids.get(f"<0x{byte:02X}>"))
            for sign, byte in byte_alphabet().items()
        }

    def encode(self, rows: Sequence[Ids]) -> list[Ids]:
        """Returns the new ids of each of several rows of old ones."""
        pieces = [piece for row in rows for piece in [*self._divide(row), None]]
        texts = [piece for piece in pieces if isinstance(piece, str)]
        encoded = iter(self._parts.encode_batch(texts))
        made: list[Ids] = []
        parts: list[Any] = []
        for piece in pieces:
            if piece is None:
                made.append(np.concatenate([np.zeros(0, int), *parts]).astype(np.int32))
                parts = []
            else:
                parts.append(next(encoded) if isinstance(piece, str) else piece)
        return made

    def _divide(self, row: Ids) -> list[Any]:
        """Returns a row as texts, and arrays of new ids where there is no text."""
        found: list[Any] = []
        silent = self._is_silent[row]
        borders = np.flatnonzero(np.diff(silent)) + 1
        for part in np.split(row, borders):
            if len(part) and self._is_silent[part[0]]:
                found.append(self._new_ids[part])
            else:
                found += self._texts(self._whole.decode_bytes(part))
        return found

    def _texts(self, data: bytes) -> list[Any]:
        """Returns bytes as texts, and the ids of those that are half a character."""
        found: list[Any] = []
        for i, part in enumerate(
            _HALVES.split(data.decode("utf-8", "surrogateescape"))
        ):
            if i % 2:
                halves = part.encode("utf-8", "surrogateescape")
                found.append(np.array([self._byte_ids[byte] for byte in halves]))
            elif part:
                found.append(part)
        return found


def _without_prefix(content: Any) -> Any:
    """Returns the content of ``tokenizer.json`` that puts no space before a text."""
    if isinstance(content, list):
        kept = [x for x in content if not _is_prefix(x)]
        return [_without_prefix(x) for x in kept]
    if not isinstance(content, dict):
        return content
    parts = ("normalizer", "pre_tokenizer", "normalizers", "pretokenizers")
    made = content | {n: _without_prefix(content[n]) for n in parts if n in content}
    if _is_prefix(made.get("normalizer")):
        made["normalizer"] = None
    if "add_prefix_space" in made:
        made["add_prefix_space"] = False
    if "prepend_scheme" in made:
        made["prepend_scheme"] = "never"
    return made


def _is_prefix(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "Prepend"
