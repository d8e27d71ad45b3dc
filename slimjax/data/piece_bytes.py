"""The bytes that each entry of a foreign vocabulary writes, entry by entry.

Text appears while it is generated, one token at a time; the library decodes whole texts
only. The families differ in how a vocabulary writes spaces and bytes.
"""

import re
from collections.abc import Mapping
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\u2581"


def list_piece_bytes(
    content: Mapping[str, Any],
    names: Mapping[int, str],
    vocab_size: int,
    *,
    silent: set[int],
) -> list[bytes]:
    """Returns the bytes of each id, ``b""`` for special ones.

    Args:
        content: The content of a ``tokenizer.json`` file.
        names: The vocabulary: entries by id.
        vocab_size: Number of ids.
        silent: Ids that write nothing.
    """
    kinds = _list_kinds(content.get("decoder")) | _list_kinds(
        content.get("pre_tokenizer")
    )
    model = content["model"] if isinstance(content.get("model"), dict) else {}
    if "ByteLevel" in kinds:
        convert = _from_byte_level
    elif "WordPiece" in kinds or model.get("type") == "WordPiece":
        prefix = model.get("continuing_subword_prefix") or "##"
        convert = lambda name: _from_word_piece(name, prefix)
    else:
        suffix = model.get("end_of_word_suffix") or ""
        convert = lambda name: _from_spaces(name, suffix)
    added = {
        token["id"]: token["content"]
        for token in content.get("added_tokens") or []
        if isinstance(token, dict)
    }
    pieces = []
    for i in range(vocab_size):
        if i in silent or i not in names:
            pieces.append(b"")
        else:
            pieces.append(added[i].encode() if i in added else convert(names[i]))
    return pieces


def byte_alphabet() -> dict[str, int]:
    r"""Returns the byte that each sign of a byte-level vocabulary stands for.

    Printable bytes stand for themselves, the others for the signs from U+0100 on.

    References:
        Radford et al., "Language Models are Unsupervised Multitask Learners", 2019,
        section 2.2 and its published code.

    Examples:
        >>> alphabet = byte_alphabet()
        >>> len(alphabet), alphabet["a"], alphabet["\u0120"]
        (256, 97, 32)
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in plain]
    alphabet = {chr(b): b for b in plain}
    return alphabet | {chr(0x100 + i): b for i, b in enumerate(others)}


_ALPHABET = byte_alphabet()


def find_lost_bytes(content: Mapping[str, Any]) -> bytes:
    """Returns the bytes that a tokenizer leaves out of a text without a word.

    A byte-level BPE without an unknown token has no way to write a byte that its table
    has no sign for.

    Args:
        content: The content of a ``tokenizer.json`` file.
    """
    model = content["model"] if isinstance(content.get("model"), dict) else {}
    if model.get("type") != "BPE" or model.get("unk_token") is not None:
        return b""
    if "ByteLevel" not in _list_kinds(content.get("pre_tokenizer")):
        return b""
    vocab = model.get("vocab") or {}
    return bytes(sorted(b for sign, b in _ALPHABET.items() if sign not in vocab))


def _from_byte_level(name: str) -> bytes:
    if all(sign in _ALPHABET for sign in name):
        return bytes(_ALPHABET[sign] for sign in name)
    return name.encode()


def _from_word_piece(name: str, prefix: str) -> bytes:
    if name.startswith(prefix):
        return name.removeprefix(prefix).encode()
    return f" {name}".encode()


def _from_spaces(name: str, suffix: str) -> bytes:
    if match := _BYTE.fullmatch(name):
        return bytes([int(match[1], 16)])
    if suffix and name.endswith(suffix):
        name = name.removesuffix(suffix) + " "
    return name.replace(_SPACE, " ").encode()


def _list_kinds(part: Any) -> set[str]:
    """Returns the types of a part of the file, and of the parts in it."""
    if isinstance(part, list):
        return {kind for item in part for kind in _list_kinds(item)}
    if not isinstance(part, dict):
        return set()
    inner = [value for value in part.values() if isinstance(value, list | dict)]
    return {str(part.get("type", ""))} | _list_kinds(inner)
