"""Tokenizers of the tokenizers library, as ``tokenizer.json`` files of BERT, GPT-2, T5.

The file says how a text is cut, not which ids pad, begin and end it: those are named by
files beside it (``tokenizer_config.json``, ``special_tokens_map.json``) or known by
their usual spellings. Its own padding and truncation are switched off.
"""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np

from slimjax.data.piece_bytes import find_lost_bytes, list_piece_bytes
from slimjax.data.tokens import (
    NO_IDS,
    Ids,
    Sizes,
    check_ids,
    check_text,
    complete_special_ids,
    sizes_by_ends,
)
from slimjax.errors import ConfigError, DataError
from slimjax.text.files import show

MAX_VOCAB_SIZE = 1 << 24
JSON_FILE = "tokenizer.json"
SPECIAL_FILE = "special.json"
KEPT_FILES = (
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("generation_config.json", "chat_template.jinja", "chat_template.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model"),
    *("sentencepiece.bpe.model", "config.json", "modules.json"),
    *("sentence_bert_config.json", "config_sentence_transformers.json"),
    "1_Pooling/config.json",
)
"""Files of pretrained models that stay beside their tokenizer, byte for byte."""


class JsonTokenizer:
    """A tokenizer of the tokenizers library.

    Attributes:
        vocab_size: Number of ids, V, with those that were added here.
        special: Ids of pad, bos (or CLS), eos (or SEP), unk and mask, as far as the
            vocabulary has them; pad, bos and eos always are there.
        fingerprint: SHA-256 over the file's content and the special ids.
        files: Other files of the model that it belongs to, which are kept beside it.
    """

    def __init__(
        self,
        content: dict[str, Any],
        found: dict[str, int | None],
        *,
        vocab_size: int = 0,
        data: bytes = b"",
        files: Mapping[str, bytes] | None = None,
    ):
        """Takes the content of a ``tokenizer.json`` file.

        Args:
            content: The content, as `json` reads it.
            found: Ids of pad, bos, eos and others; None for those that are missing.
                With ``adds_bos=0`` no row begins with bos; ``pair_separators`` is
                how many eos stand between two texts, 1 without it.
            vocab_size: Rows of the table of a model, where there are more of them than
                entries; 0 for as many. All ids are below it then, and pad, bos and eos
                must be known.
            data: The file, byte for byte, if it is to be written so.
            files: Other files by name, see `KEPT_FILES`.

        Raises:
            ConfigError: If the tokenizers library is not installed.
            DataError: If the content is not a tokenizer.
        """
        self._content = content | {"padding": None, "truncation": None}
        self._data, self.files = data, dict(files or {})
        self._fixed_size = vocab_size
        self._tokenizer = build_tokenizer(self._content)
        vocab = self._tokenizer.get_vocab(with_added_tokens=True)
        num_ids = max(vocab.values(), default=-1) + 1
        if vocab_size:
            self.special, self.vocab_size = _check_ids(found, num_ids, vocab_size)
        else:
            self.special, self.vocab_size = complete_special_ids(found, num_ids)
        self.pad_id, self.bos_id = self.special["pad"], self.special["bos"]
        self.eos_id = self.special["eos"]
        self._name_of = {number: name for name, number in vocab.items()}
        self._controls = self._find_controls()
        self._bytes = list_piece_bytes(
            self._content, self._name_of, self.vocab_size, silent=self._silent_ids()
        )
        self._lost = find_lost_bytes(self._content)
        known = [self._content, self.special, *([vocab_size] if vocab_size else [])]
        parts = json.dumps(known, sort_keys=True)
        self.fingerprint = hashlib.sha256(parts.encode()).hexdigest()

    def encode(self, text: str) -> Ids:
        """Returns the ids of `text`, none of them special but unk."""
        return self.encode_with_bytes([text])[0][0]

    def encode_batch(self, texts: Sequence[str], num_threads: int = 2) -> list[Ids]:
        """Returns the ids of each text; the library chooses its threads itself."""
        del num_threads
        return [ids for ids, _ in self.encode_with_bytes(texts)]

    def encode_with_bytes(self, texts: Sequence[str]) -> list[tuple[Ids, Sizes]]:
        """Returns the ids of each text, and the raw bytes each of them stands for.

        Raises:
            DataError: If a text has a byte that the tokenizer would leave out.
        """
        whole = [self._check_bytes(check_text(text)).decode() for text in texts]
        encoded = self._tokenizer.encode_batch(whole, add_special_tokens=False)
        rows = [self._to_row(e, text) for e, text in zip(encoded, whole, strict=True)]
        return [
            self._encode_in_parts(text) if np.isin(ids, self._controls).any() else row
            for text, row in zip(whole, rows, strict=True)
            for ids in [row[0]]
        ]

    def encode_marked(self, text: str) -> Ids:
        """Returns the ids of a text in which special tokens are spelled out."""
        self._tokenizer.encode_special_tokens = False
        try:
            encoded = self._tokenizer.encode(text, add_special_tokens=False)
        finally:
            self._tokenizer.encode_special_tokens = True
        return np.array(encoded.ids, np.int32)

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Returns the text of `ids`, with U+FFFD for bytes that are not UTF-8."""
        array = check_ids(ids, self.vocab_size)
        known = [int(i) for i in array if int(i) in self._name_of]
        return self._tokenizer.decode(known, skip_special_tokens=True)

    def decode_bytes(self, ids: Iterable[SupportsIndex]) -> bytes:
        """Returns the bytes of `ids`, each by itself; special ones have none."""
        array = check_ids(ids, self.vocab_size)
        return b"".join([self._bytes[i] for i in array.tolist()])

    @property
    def names(self) -> Mapping[int, str]:
        """The vocabulary: entries by id, without rows that have none."""
        return self._name_of

    def to_json(self) -> bytes:
        """Returns the file ``tokenizer.json``."""
        return self._data or json.dumps(self._content, ensure_ascii=False).encode()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``tokenizer.json``, ``special.json`` and `files` into `folder`."""
        data = self.to_json()
        for name, content in self.files.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
        with open(os.path.join(folder, JSON_FILE), "wb") as file:
            file.write(data)
        is_known = lambda n, i: n in NO_IDS or self._fixed_size or i in self._name_of
        known = {n: i if is_known(n, i) else None for n, i in self.special.items()}
        note = {"sha256": hashlib.sha256(data).hexdigest(), "special": known}
        note |= {"vocab_size": self._fixed_size} if self._fixed_size else {}
        with open(os.path.join(folder, SPECIAL_FILE), "w", encoding="utf-8") as file:
            json.dump(note, file)

    def _check_bytes(self, data: bytes) -> bytes:
        """Refuses bytes that no piece stands for."""
        if self._lost and len(kept := data.translate(None, self._lost)) < len(data):
            lost = next(b for b in data if b in self._lost)
            raise DataError(
                f"a text has {len(data) - len(kept)} bytes that the tokenizer has no "
                f"pieces for, such as 0x{lost:02x}. Remove them from the text."
            )
        return data

    def _find_controls(self) -> np.ndarray:
        """Returns the ids that no text may encode to."""
        names = ("pad", "bos", "eos", "mask")
        return np.array([self.special[n] for n in names if n in self.special])

    def _silent_ids(self) -> set[int]:
        added = self._tokenizer.get_added_tokens_decoder()
        return {i for i, token in added.items() if token.special} | {
            *self._controls.tolist(),
            *([self.special["unk"]] if "unk" in self.special else []),
        }

    def _to_row(self, encoding: Any, text: str) -> tuple[Ids, Sizes]:
        ends = [end for _, end in encoding.offsets]
        return np.array(encoding.ids, np.int32), sizes_by_ends(text, ends)

    def _encode_in_parts(self, text: str) -> tuple[Ids, Sizes]:
        """Encodes a text that spells special tokens, each cut after its first sign."""
        names = [self._name_of[int(i)] for i in self._controls if i in self._name_of]
        pattern = "|".join(re.escape(name) for name in names)
        starts = [match.start() + 1 for match in re.finditer(pattern, text)]
        borders = [0, *starts, len(text)]
        parts = [text[a:b] for a, b in itertools.pairwise(borders)]
        encoded = self._tokenizer.encode_batch(parts, add_special_tokens=False)
        rows = [self._to_row(e, part) for e, part in zip(encoded, parts, strict=True)]
        ids = np.concatenate([ids for ids, _ in rows])
        kept = ~np.isin(ids, self._controls)
        return ids[kept], np.concatenate([sizes for _, sizes in rows])[kept]


def _check_ids(
    found: Mapping[str, int | None], num_ids: int, vocab_size: int
) -> tuple[dict[str, int], int]:
    """Returns the special ids of a table of a given size, and that size.

    Raises:
        DataError: If an id has no row.
    """
    ids = {name: i for name, i in found.items() if i is not None}
    most = max(num_ids, *(i + 1 for name, i in ids.items() if name not in NO_IDS))
    if most > vocab_size:
        raise DataError(
            f"the tokenizer has {most} ids, and the model has rows for {vocab_size}."
        )
    return ids, vocab_size


def build_tokenizer(content: dict[str, Any]) -> Any:
    """Makes the library's tokenizer; special tokens in a text are plain text to it."""
    try:
        import tokenizers
    except ImportError:
        raise ConfigError(
            "config.data.tokenizer names a tokenizer.json, which needs the tokenizers "
            "library: pip install 'slimjax[interop]'"
        ) from None
    try:
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # The library raises no other kind.
        reason = " ".join(str(error).split())
        raise DataError(f"the tokenizers library refuses it: {show(reason)}.") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer
