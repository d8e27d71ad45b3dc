"""What every tokenizer can do, and what all of them need for it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, SupportsIndex, runtime_checkable

import numpy as np
from jaxtyping import Int32, Int64

from slimjax.errors import DataError

Ids = Int32[np.ndarray, "_T"]
Sizes = Int32[np.ndarray, "_T"]


ADDS_BOS = "adds_bos"
"""Among the special ids: 0 where no row begins with bos. It is missing elsewhere."""

SEPARATORS = "pair_separators"
"""Among the special ids: how many eos stand between two texts, if more than one."""

NO_IDS = (ADDS_BOS, SEPARATORS)
"""Entries of the special ids that are numbers of another kind."""


@runtime_checkable
class Tokenizer(Protocol):
    """What every tokenizer can do.

    Attributes:
        vocab_size: Number of ids, V.
        pad_id: Fills rows up; no target.
        bos_id: Comes before the first token.
        eos_id: Ends a document; never equal to `pad_id`.
        fingerprint: Equal for equal tokenizers.
    """

    vocab_size: int
    pad_id: int
    bos_id: int
    eos_id: int
    fingerprint: str

    @property
    def special(self) -> dict[str, int]:
        """Ids with a meaning of their own: these three, and such as ``unk``."""
        ...

    def encode(self, text: str) -> Ids:
        """Returns the ids of `text`, none of them special."""
        ...

    def encode_batch(self, texts: Sequence[str], num_threads: int = 2) -> list[Ids]:
        """Returns the ids of each text."""
        ...

    def encode_with_bytes(self, texts: Sequence[str]) -> list[tuple[Ids, Sizes]]:
        """Returns the ids of each text, and the raw bytes each of them stands for.

        The bytes of a text's tokens sum to the bytes of its UTF-8, less those at its
        end that the tokenizer leaves out.
        """
        ...

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Returns the text of `ids`, with U+FFFD for bytes that are not UTF-8."""
        ...

    def decode_bytes(self, ids: Iterable[SupportsIndex]) -> bytes:
        """Returns the bytes of `ids`; pad, bos, eos and unk have none."""
        ...

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the tokenizer's files into `folder`, which exists."""
        ...


def adds_bos(special: Mapping[str, int]) -> bool:
    """Whether rows begin with bos, as far as these special ids tell."""
    return special.get(ADDS_BOS, 1) > 0


def begin_row(tokenizer: Tokenizer) -> Ids:
    """Returns what stands before a text: bos, or nothing."""
    first = [tokenizer.bos_id] if adds_bos(tokenizer.special) else []
    return np.array(first, np.int32)


def check_text(text: str) -> bytes:
    """Returns the UTF-8 of a text.

    Raises:
        DataError: If it holds half a character (a lone surrogate).
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        half = f"half a character, {text[error.start]!a}, at {error.start}"
        raise DataError(f"The text holds {half}; it cannot be encoded.") from None


def check_ids(ids: Iterable[SupportsIndex], vocab_size: int) -> Int64[np.ndarray, " T"]:
    """Returns ids as an array.

    Raises:
        DataError: If one of them is not below `vocab_size`.
    """
    array = np.fromiter(ids, np.int64) if not hasattr(ids, "__len__") else ids
    array = np.asarray(array).reshape(-1).astype(np.int64)
    if array.size and not 0 <= array.min() <= array.max() < vocab_size:
        bad = array[(array < 0) | (array >= vocab_size)][0]
        raise DataError(f"id {bad} is not among the tokenizer's {vocab_size}.")
    return array


def sizes_by_ends(text: str, ends: Sequence[int]) -> Sizes:
    """Returns how many bytes of a text each token stands for, given where it ends.

    A token has what follows the token before it, so that the sizes add up; what
    follows the last token belongs to none.

    Args:
        text: The text.
        ends: For each token, the place in the text after its last character.

    Examples:
        >>> sizes_by_ends("h\u00e9llo you", [2, 5, 9])
        array([3, 3, 4], dtype=int32)
    """
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    sizes = 1 + (characters > 0x7F) + (characters > 0x7FF) + (characters > 0xFFFF)
    up_to = np.concatenate([[0], np.cumsum(sizes)])
    reached = np.maximum.accumulate(np.array([0, *ends], np.int64))
    return np.diff(up_to[reached]).astype(np.int32)


def complete_special_ids(
    found: dict[str, int | None], vocab_size: int
) -> tuple[dict[str, int], int]:
    """Returns ids of pad, bos and eos where some are missing, and the vocabulary.

    One of bos and eos stands for the other. What is still missing gets an id after the
    last one. So does pad where it equals another: padding is not a target, an end is.

    Args:
        found: Ids by name, as the vocabulary has them; None for those it lacks.
        vocab_size: Size of the vocabulary.

    Examples:
        >>> complete_special_ids({"pad": 5, "bos": None, "eos": 5, "unk": 0}, 6)
        ({'pad': 6, 'bos': 5, 'eos': 5, 'unk': 0}, 7)
    """
    ids = {name: number for name, number in found.items() if number is not None}
    if "bos" not in ids and "eos" not in ids:
        ids["eos"], vocab_size = vocab_size, vocab_size + 1
    ids.setdefault("bos", ids.get("eos", -1))
    ids.setdefault("eos", ids["bos"])
    if ids.get("pad", ids["bos"]) in (ids["bos"], ids["eos"]):
        ids["pad"], vocab_size = vocab_size, vocab_size + 1
    first = {name: ids[name] for name in ("pad", "bos", "eos")}
    return first | ids, vocab_size
