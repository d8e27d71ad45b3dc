"""Vocabularies with fewer entries: which may go, and the tokenizer without them.

Ids are numbered anew, in the old order. A merge goes with any of its three entries;
what an entry stood for is then spelled with smaller ones.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from slimjax.data.json_tokenizer import JSON_FILE, JsonTokenizer
from slimjax.data.piece_parts import BYTE, list_parts, read_merges
from slimjax.data.tokens import NO_IDS
from slimjax.data.vocabulary_files import list_named_ids, renumber_files
from slimjax.errors import DataError

NewIds = Mapping[int, int]
"""New ids by old ones, of all that stay."""


class Entries(NamedTuple):
    """The rows of a table of tokens, by id.

    Attributes:
        may_go: Whether a row may go, once nothing that stays is made of it.
        parts: Ids of the smaller entries that spell it; empty where it has to stay, or
            where no text has it.
    """

    may_go: np.ndarray
    parts: tuple[tuple[int, ...], ...]


def list_entries(tokenizer: JsonTokenizer) -> Entries:
    """Returns what may go of a vocabulary.

    Special and added tokens stay, and so do bytes, signs that nothing spells, and ids
    that settings of the model name. Rows without an entry may go.

    Raises:
        DataError: If it is of a kind that cannot be made smaller.
    """
    content = json.loads(tokenizer.to_json())
    ids = {name: number for number, name in tokenizer.names.items()}
    stay = _stay(content, tokenizer, ids)
    parts: list[tuple[int, ...]] = [()] * tokenizer.vocab_size
    may_go = np.ones(tokenizer.vocab_size, bool)
    may_go[[*ids.values()]] = False
    for name, own in list_parts(content["model"]).items():
        if name in ids and ids[name] not in stay:
            parts[ids[name]] = tuple(ids[part] for part in own)
            may_go[ids[name]] = True
    may_go[[*stay]] = False
    return Entries(may_go, tuple(parts))


def _stay(
    content: Mapping[str, Any], tokenizer: JsonTokenizer, ids: Mapping[str, int]
) -> set[int]:
    """Returns the ids that stay whatever they cost."""
    special = tokenizer.special.items()
    stay = {number for name, number in special if name not in NO_IDS}
    stay |= list_named_ids(tokenizer.files)
    for token in content.get("added_tokens") or ():
        stay.add(ids[token["content"]])
    unknown = content["model"].get("unk_token")
    stay |= {ids[unknown]} if unknown in ids else set()
    if type(number := content["model"].get("unk_id")) is int:
        stay.add(number)
    stay |= {number for name, number in ids.items() if BYTE.fullmatch(name)}
    stay |= {ids[n] for n in _names_of_ends(content.get("post_processor")) if n in ids}
    return {number for number in stay if 0 <= number < tokenizer.vocab_size}


def cut_tokenizer(tokenizer: JsonTokenizer, kept: np.ndarray) -> JsonTokenizer:
    """Returns a tokenizer with some of the entries, numbered anew.

    Args:
        tokenizer: The tokenizer.
        kept: Old ids that stay, ascending: all that has to stay, and the parts of what
            stays (`Entries`).

    Raises:
        DataError: If the tokenizers library numbers the entries in another way.
    """
    numbers = {int(old): new for new, old in enumerate(kept)}
    ids = {name: number for number, name in tokenizer.names.items()}
    content = _cut_content(json.loads(tokenizer.to_json()), ids, numbers)
    special = {
        name: number if name in NO_IDS else numbers[number]
        for name, number in tokenizer.special.items()
    }
    names = {numbers[i]: name for i, name in tokenizer.names.items() if i in numbers}
    files = renumber_files(tokenizer.files, content, numbers)
    data = json.dumps(content, ensure_ascii=False).encode()
    made = JsonTokenizer(
        content, dict(special), vocab_size=len(kept), data=data, files=files
    )
    if made.names != names:
        raise DataError(
            f"{JSON_FILE}: the ids of its added tokens cannot be numbered anew."
        )
    return made


def _cut_content(
    content: dict[str, Any], ids: Mapping[str, int], numbers: NewIds
) -> dict[str, Any]:
    """Returns the content of ``tokenizer.json`` without the entries that are gone."""
    model = dict(content["model"])
    vocab: Any = model["vocab"]
    if model.get("type") == "Unigram":
        known = [entry for i, entry in enumerate(vocab) if i in numbers]
        if type(model.get("unk_id")) is int:
            model["unk_id"] = numbers[model["unk_id"]]
    else:
        pairs = sorted(vocab.items(), key=lambda pair: pair[1])
        known = {name: numbers[i] for name, i in pairs if i in numbers}
    if "merges" in model:
        pairs = zip(model["merges"], read_merges(model), strict=True)
        model["merges"] = [
            entry
            for entry, (left, right) in pairs
            if left in known and right in known and left + right in known
        ]
    content = {**content, "model": {**model, "vocab": known}}
    content["added_tokens"] = [
        token | {"id": numbers[ids[token["content"]]]}
        for token in content.get("added_tokens") or ()
    ]
    content["post_processor"] = _renumber_ends(content.get("post_processor"), numbers)
    padding = content.get("padding")
    if isinstance(padding, dict) and type(padding.get("pad_id")) is int:
        own = {"pad_id": numbers.get(padding["pad_id"], padding["pad_id"])}
        content["padding"] = padding | own
    return content


def _names_of_ends(part: Any) -> set[str]:
    """Returns the tokens that are put around a text."""
    if not isinstance(part, dict):
        return set()
    inner = [_names_of_ends(own) for own in part.get("processors") or ()]
    names = {part[n][0] for n in ("sep", "cls") if isinstance(part.get(n), list)}
    for token in (part.get("special_tokens") or {}).values():
        names |= set(token["tokens"])
    return names.union(*inner)


def _renumber_ends(part: Any, numbers: NewIds) -> Any:
    """Returns what puts special tokens around a text, with their new ids."""
    if not isinstance(part, dict):
        return part
    part = dict(part)
    if "processors" in part:
        part["processors"] = [_renumber_ends(p, numbers) for p in part["processors"]]
    for name in ("sep", "cls"):  # Of BERT and RoBERTa: ("[SEP]", 102).
        if isinstance(part.get(name), list):
            token, number = part[name]
            part[name] = [token, numbers[number]]
    if isinstance(part.get("special_tokens"), dict):
        part["special_tokens"] = {
            name: token | {"ids": [numbers[i] for i in token["ids"]]}
            for name, token in part["special_tokens"].items()
        }
    return part
