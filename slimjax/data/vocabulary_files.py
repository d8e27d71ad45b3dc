"""Files beside a tokenizer that name ids, with ids numbered anew."""

import json
from collections.abc import Mapping
from typing import Any

from slimjax.errors import DataError

SETTINGS = ("config.json", "generation_config.json")
LISTS = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids")
"""Settings that name ids of any kind: those of rows that are gone are left out."""

SERIALIZED = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
"""The same vocabulary in another form: it is not kept once it is another one."""


def list_named_ids(files: Mapping[str, bytes]) -> set[int]:
    """Returns the ids to which settings of a model give a meaning."""
    found: set[int] = set()
    for name in SETTINGS:
        for key, value in _read(files, name).items():
            if _names_special(key):
                values = value if isinstance(value, list) else [value]
                found |= {i for i in values if type(i) is int}
    return found


def renumber_files(
    files: Mapping[str, bytes], content: Mapping[str, Any], numbers: Mapping[int, int]
) -> dict[str, bytes]:
    """Returns files with new ids; those of no use any more are left out.

    Args:
        files: The files by name.
        content: The new content of ``tokenizer.json``.
        numbers: New ids by old ones, of all that stay.

    Raises:
        DataError: If one of them cannot be read.
    """
    made = {name: data for name, data in files.items() if name not in SERIALIZED}
    for name in SETTINGS:
        if name in made:
            made[name] = _write(_renumber_settings(_read(files, name), numbers))
    for name, key in (("added_tokens.json", None), ("vocab.json", "vocab")):
        if name in made:
            found = {str(n): i for n, i in _read(files, name).items()}
            kept = {n: numbers[i] for n, i in found.items() if i in numbers}
            made[name] = _write(content["model"][key] if key else kept)
    if "tokenizer_config.json" in made:
        config = _read(files, "tokenizer_config.json")
        made["tokenizer_config.json"] = _write(_renumber_added(config, numbers))
    made |= _renumber_lists(made, content)
    return made


def _names_special(key: str) -> bool:
    return key.endswith(("_token_id", "_token_ids"))


def _renumber_settings(
    settings: dict[str, Any], numbers: Mapping[int, int]
) -> dict[str, Any]:
    changed = {}
    for key, value in settings.items():
        if _names_special(key) or key in LISTS:
            changed[key] = _renumber(value, numbers)
    if "vocab_size" in settings:
        changed["vocab_size"] = len(numbers)
    return settings | changed


def _renumber(value: Any, numbers: Mapping[int, int]) -> Any:
    """Returns an id, or a list of ids or of such lists; ids that are gone are None."""
    if isinstance(value, list):
        found = [_renumber(item, numbers) for item in value]
        return [item for item in found if item is not None and item != []]
    return numbers.get(value) if type(value) is int else value


def _renumber_added(
    config: dict[str, Any], numbers: Mapping[int, int]
) -> dict[str, Any]:
    known = config.get("added_tokens_decoder")
    if not isinstance(known, dict):
        return config
    found = {
        str(numbers[int(old)]): token
        for old, token in known.items()
        if str(old).isdigit() and int(old) in numbers
    }
    return config | {"added_tokens_decoder": found}


def _renumber_lists(
    files: Mapping[str, bytes], content: Mapping[str, Any]
) -> dict[str, bytes]:
    """Returns vocabularies and merges that stand in lines."""
    made, model = {}, content["model"]
    if "vocab.txt" in files and isinstance(model["vocab"], dict):
        lines = sorted(model["vocab"], key=model["vocab"].__getitem__)
        made["vocab.txt"] = "".join(f"{name}\n" for name in lines).encode()
    if "merges.txt" in files and "merges" in model:
        lines = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
        made["merges.txt"] = ("#version: 0.2\n" + "\n".join(lines) + "\n").encode()
    return made


def _read(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """Returns what a file holds; {} if it is not there.

    Raises:
        DataError: If it holds no object.
    """
    try:
        found = json.loads(files.get(name, b"{}"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{name} is damaged: it holds no JSON object.")
    return found


def _write(content: Any) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()
