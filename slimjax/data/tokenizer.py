"""Text to numbers and back: pieces that are trained, plain bytes, or another's file.

All kinds share the interface `slimjax.data.tokens.Tokenizer`. None adds bos or eos by
itself, and no text encodes to them.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from slimjax.data.byte_tokenizer import BYTES_FILE, BytesTokenizer
from slimjax.data.byte_tokenizer import FORMAT as BYTES_FORMAT
from slimjax.data.json_tokenizer import (
    JSON_FILE,
    SPECIAL_FILE,
    JsonTokenizer,
)
from slimjax.data.piece_tokenizer import (
    SENTENCEPIECE_FILE,
    SentencePieceTokenizer,
    unseal,
)
from slimjax.data.pieces import train_pieces
from slimjax.data.saved_tokenizers import read_json_tokenizer, read_saved_tokenizer
from slimjax.data.tokens import Ids, Sizes, Tokenizer
from slimjax.errors import DataError
from slimjax.text.files import show

__all__ = [
    "BytesTokenizer",
    "Ids",
    "JsonTokenizer",
    "SentencePieceTokenizer",
    "Sizes",
    "Tokenizer",
    "load_tokenizer",
    "read_tokenizer_file",
    "train_tokenizer",
]


def train_tokenizer(
    lines: Iterable[str],
    vocab_size: int,
    *,
    within_words: bool = False,
    at_most: bool = False,
) -> SentencePieceTokenizer:
    """Trains a tokenizer of `vocab_size` pieces; same lines, same tokenizer.

    Args:
        lines: Lines or longer passages, with their newlines.
        vocab_size: Number of pieces, with 4 specials and 256 bytes.
        within_words: Whether no piece crosses a space.
        at_most: Whether there may be fewer, where the text supports no more.

    Raises:
        ConfigError: If the text does not support so many; it names the most.
    """
    return SentencePieceTokenizer(
        train_pieces(lines, vocab_size, within_words=within_words, at_most=at_most)
    )


def read_tokenizer_file(path: str | os.PathLike[str]) -> Tokenizer:
    """Reads a tokenizer that was made elsewhere.

    Args:
        path: A ``tokenizer.json`` of the tokenizers library, or a ``.model`` of
            sentencepiece.

    Raises:
        DataError: If it is no such file.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise DataError(f"{show(path)} is not a file; name a tokenizer.json.")
    if not path.endswith(".model"):
        return read_json_tokenizer(path)
    try:
        return SentencePieceTokenizer(Path(path).read_bytes())
    except OSError as error:
        raise DataError(f"{show(path)} cannot be read: {error.strerror}.") from None
    except DataError:
        raise DataError(f"{show(path)} is not a sentencepiece model.") from None


def holds_tokenizer(folder: str | os.PathLike[str]) -> bool:
    """Returns whether a tokenizer was saved into a folder, damaged or not."""
    names = (SPECIAL_FILE, SENTENCEPIECE_FILE, BYTES_FILE, JSON_FILE)
    return any(os.path.isfile(os.path.join(folder, name)) for name in names)


def load_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """Loads what a tokenizer's `save` wrote into `folder`.

    Raises:
        DataError: If there is no tokenizer, or a damaged one.
    """
    if os.path.isfile(os.path.join(folder, SPECIAL_FILE)):
        return read_saved_tokenizer(folder)  # It may have another's files beside it.
    for name in (SENTENCEPIECE_FILE, BYTES_FILE, JSON_FILE):
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
            if name == SENTENCEPIECE_FILE:
                return SentencePieceTokenizer(unseal(data, path))
            content = json.loads(data)
            if content == BYTES_FORMAT:  # Once it was in the other file.
                return BytesTokenizer()
            if name == JSON_FILE and isinstance(content, dict) and "model" in content:
                return read_saved_tokenizer(folder)
            raise DataError(f"{show(path)} is not a tokenizer of this version.")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{show(path)} is damaged: {show(str(error))}.") from None
    raise DataError(f"{show(os.fspath(folder))} holds no {SENTENCEPIECE_FILE}.")
