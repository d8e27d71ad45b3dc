"""The tokenizer of a GGUF file, as the files that the tokenizers library reads."""

import json
from typing import Any

from slimjax.interop.gguf_header import Header
from slimjax.interop.gguf_pieces import BPE, SPM, WPM, Vocabulary, read_vocabulary
from slimjax.interop.tokenizer_json import byte_level, sentence_piece, word_piece

NAMES = {
    "bos": "bos_token",
    "eos": "eos_token",
    "unknown": "unk_token",
    "seperator": "sep_token",
    "padding": "pad_token",
    "cls": "cls_token",
    "mask": "mask_token",
}
"""Names of special tokens in GGUF files, spelled as there, and in others."""


def tokenizer_files(header: Header, size: int, length: int) -> dict[str, bytes]:
    """Returns the files of a tokenizer, or none if the GGUF file has no tokenizer.

    They are ``tokenizer.json``, ``tokenizer_config.json`` (with the chat template and
    whether texts begin with bos), ``special_tokens_map.json`` and
    ``generation_config.json``.

    Args:
        header: The header of the file.
        size: Rows of the table of tokens.
        length: Positions that the model was trained for.

    Raises:
        DataError: If it is not complete, or of a kind that is not known.
    """
    vocabulary = read_vocabulary(header, size)
    if vocabulary is None:
        return {}
    make = {BPE: byte_level, SPM: sentence_piece, WPM: word_piece}[vocabulary.model]
    special = {
        other: vocabulary.pieces[vocabulary.special[name]]
        for name, other in NAMES.items()
        if name in vocabulary.special
    }
    if vocabulary.model == WPM:
        special.setdefault("cls_token", special.pop("bos_token", "[CLS]"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": length,
        "add_bos_token": vocabulary.adds["bos"],
        "add_eos_token": vocabulary.adds["eos"],
        "clean_up_tokenization_spaces": False,
        **special,
    }
    template = header.settings.get("tokenizer.chat_template")
    if isinstance(template, str):
        config["chat_template"] = template
    files = {
        "tokenizer.json": make(vocabulary),
        "tokenizer_config.json": config,
        "special_tokens_map.json": special,
    }
    if vocabulary.model != WPM:
        files["generation_config.json"] = _generation(vocabulary)
    return {name: _to_bytes(content) for name, content in files.items()}


def _generation(vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns the ids that begin, end and fill up what is generated."""
    special = vocabulary.special
    ends = [special[name] for name in ("eos", "eot", "eom") if name in special]
    ends = list(dict.fromkeys(ends))
    found: dict[str, Any] = {
        "bos_token_id": special.get("bos"),
        "eos_token_id": ends[0] if len(ends) == 1 else ends or None,
        "pad_token_id": special.get("padding"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _to_bytes(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()
