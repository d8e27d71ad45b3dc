"""Which ids of a foreign vocabulary pad, begin and end a text, or hide a token."""

import json
from collections.abc import Mapping
from typing import Any

# By meaning: keys of those files, then usual spellings; the first that is found counts.
NAMES = {
    "pad": (("pad_token",), ("[PAD]", "<pad>", "<|pad|>", "<|padding|>")),
    "bos": (
        ("cls_token", "bos_token"),
        ("[CLS]", "<s>", "<bos>", "[BOS]", "<|begin_of_text|>", "<|startoftext|>"),
    ),
    "eos": (
        ("sep_token", "eos_token"),
        ("[SEP]", "</s>", "<eos>", "[EOS]", "<|end_of_text|>", "<|endoftext|>"),
    ),
    "unk": (("unk_token",), ("[UNK]", "<unk>")),
    "mask": (("mask_token",), ("[MASK]", "<mask>")),
}


SENTENCES = "sentence_bert_config.json"
"""Settings of sentence-transformers."""


def find_special(
    named: Mapping[str, Any], vocab: Mapping[str, int]
) -> dict[str, int | None]:
    """Returns the special ids, by the names that files give them or by spelling.

    Args:
        named: What ``tokenizer_config.json`` and its like hold.
        vocab: Ids by entry.

    Examples:
        >>> find_special({"eos_token": "<end>"}, {"<end>": 3, "[MASK]": 5})
        {'pad': None, 'bos': None, 'eos': 3, 'mask': 5}
    """
    found: dict[str, int | None] = {}
    for meaning, (keys, spellings) in NAMES.items():
        values = [named.get(key) for key in keys]
        names = [v.get("content") if isinstance(v, dict) else v for v in values]
        known = [name for name in [*names, *spellings] if isinstance(name, str)]
        ids = [vocab[name] for name in known if name in vocab]
        found[meaning] = ids[0] if ids else None
    return {
        name: number
        for name, number in found.items()
        if number is not None or name in ("pad", "bos", "eos")
    }


def list_ends(files: Mapping[str, bytes]) -> list[int]:
    """Returns the ids that end a text as the settings of a pretrained model say.

    Those of ``generation_config.json`` count, or else those of ``config.json``, as in
    transformers.

    Args:
        files: The files of the model by name.

    Examples:
        >>> list_ends({"generation_config.json": b'{"eos_token_id": [7, 2]}'})
        [7, 2]
    """
    for name in ("generation_config.json", "config.json"):
        if name not in files:
            continue
        try:
            content = json.loads(files[name])
        except (ValueError, RecursionError):
            continue
        given = content.get("eos_token_id") if isinstance(content, dict) else None
        ids = given if isinstance(given, list) else [given]
        return [i for i in ids if type(i) is int and i >= 0]
    return []


def sentence_settings(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Returns what sentence-transformers has beside a model: its longest text, say.

    Args:
        files: The files of the model by name.

    Examples:
        >>> sentence_settings({SENTENCES: b'{"max_seq_length": 256}'})
        {'max_seq_length': 256}
    """
    try:
        content = json.loads(files.get(SENTENCES, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
