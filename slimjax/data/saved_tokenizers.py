"""Tokenizers of the tokenizers library in folders: others' files, and saved ones."""

import hashlib
import json
import os
from typing import Any

from slimjax.data.json_tokenizer import (
    JSON_FILE,
    KEPT_FILES,
    MAX_VOCAB_SIZE,
    SPECIAL_FILE,
    JsonTokenizer,
    build_tokenizer,
)
from slimjax.data.special_tokens import find_special
from slimjax.errors import DataError
from slimjax.text.files import show

_CONFIG_FILES = ("tokenizer_config.json", "special_tokens_map.json")


def read_json_tokenizer(path: str) -> JsonTokenizer:
    """Reads a ``tokenizer.json`` file, and those beside it that name special tokens.

    Raises:
        ConfigError: If the tokenizers library is not installed.
        DataError: If it is not such a file.
    """
    content = _read_json(path)
    if not isinstance(content, dict) or "model" not in content:
        raise DataError(
            f"{show(path)} is not a tokenizer.json of the tokenizers library."
        )
    folder = os.path.dirname(path)
    named: dict[str, Any] = {}
    for name in _CONFIG_FILES:
        beside = os.path.join(folder, name)
        if os.path.isfile(beside) and isinstance(config := _read_json(beside), dict):
            named = config | named
    try:
        vocab = build_tokenizer(content).get_vocab(with_added_tokens=True)
        return JsonTokenizer(content, find_special(named, vocab))
    except DataError as error:
        raise DataError(f"{show(path)}: {error}") from None


def read_saved_tokenizer(folder: str | os.PathLike[str]) -> JsonTokenizer:
    """Loads what `JsonTokenizer.save` wrote into `folder`.

    Raises:
        DataError: If one of its files is missing or damaged.
    """
    path = os.path.join(folder, JSON_FILE)
    note = _read_json(os.path.join(folder, SPECIAL_FILE))
    try:
        with open(path, "rb") as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != note["sha256"]:
            raise ValueError("its content is not what was written")
        special = {str(name): number for name, number in note["special"].items()}
        if not all(n is None or type(n) is int for n in special.values()):
            raise ValueError("a special id is not a number")
        size = note.get("vocab_size", 0)
        if type(size) is not int or not 0 <= size <= MAX_VOCAB_SIZE:
            raise ValueError("the size of the vocabulary is not a number")
        files = read_kept_files(folder)
        options = dict[str, Any](vocab_size=size, data=data, files=files)
        return JsonTokenizer(json.loads(data), special, **options)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{show(path)} is damaged: {show(str(error))}.") from None


def read_kept_files(folder: str | os.PathLike[str]) -> dict[str, bytes]:
    """Returns the `KEPT_FILES` that there are in a folder."""
    files = {}
    for name in KEPT_FILES:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                files[name] = file.read()
    return files


def _read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise DataError(f"{show(path)} is missing.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{show(path)} is damaged: {show(str(error))}.") from None
