"""The settings of a GGUF file's tokenizer, from the files of the tokenizers library."""

import json
import re
from collections.abc import Mapping
from typing import Any

from slimjax.data.special_tokens import list_ends
from slimjax.errors import DataError
from slimjax.generate.chat_template import FILES, template_of
from slimjax.interop.foreign import Foreign
from slimjax.interop.gguf_pieces import (
    BPE,
    BYTE,
    CONTROL,
    NORMAL,
    SPM,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
)
from slimjax.interop.gguf_tokenizer import NAMES
from slimjax.interop.tokenizer_json import SPACE, normalizer, pre_tokenizer

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_FILLER = re.compile(r"\[PAD\d+\]")
WHOLE_WORDS = ("llama-bpe",)
"""Ways to cut a text after which a word that is a piece is taken whole."""

JOINS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
"""Options of BPE that GGUF files have no place for."""

NONE = {"tokenizer.ggml.model": "none"}
"""Settings of a file without a tokenizer."""

WRITTEN = ("smollm", "qwen2", "gpt-2", "llama-bpe")
"""Ways to cut a text that are written, by their names in GGUF files."""


def tokenizer_settings(model: Foreign, size: int) -> dict[str, Any]:
    """Returns the settings by key.

    Args:
        model: The model, with or without the files of a tokenizer.
        size: Rows of the table of tokens; ids that the tokenizer lacks are filled up.

    Raises:
        DataError: If GGUF has no name for this kind of tokenizer.
    """
    if "tokenizer.json" not in model.files:
        return NONE
    content = model.json("tokenizer.json")
    kind = content.get("model")
    if not isinstance(kind, dict) or kind.get("type", "BPE") != "BPE":
        raise DataError(
            f"tokenizer.json: GGUF files of this family hold BPE tokenizers, not "
            f"{kind.get('type') if isinstance(kind, dict) else kind!r:.40}."
        )
    pieces, kinds = _pieces(content, size)
    merges = [_merge(entry) for entry in kind.get("merges") or ()]
    if kind.get("byte_fallback"):
        found = _sentence_piece(content, pieces, merges)
    else:
        found: dict[str, Any] = {"model": BPE, "pre": find_pre(content)}
        _check_joins(kind, found["pre"])
        found["merges"] = [" ".join(merge) for merge in merges]
    found |= {"tokens": pieces, "token_type": kinds}
    found |= _special(model, content, {piece: i for i, piece in enumerate(pieces)})
    settings = {f"tokenizer.ggml.{name}": value for name, value in found.items()}
    if template := template_of(model.files):
        settings["tokenizer.chat_template"] = template
    return settings


def find_pre(content: Mapping[str, Any]) -> str:
    """Returns GGUF's name of how a tokenizer cuts a text.

    Args:
        content: The content of ``tokenizer.json``.

    Raises:
        DataError: If GGUF has none.
    """
    found = _plain(content.get("normalizer")), _plain(content.get("pre_tokenizer"))
    for pre in WRITTEN:
        if found == (_plain(normalizer(pre)), _plain(pre_tokenizer(pre))):
            return pre
    raise DataError(
        "tokenizer.json cuts texts in a way that GGUF has no name for. "
        f"Known: {', '.join(WRITTEN)}."
    )


def _check_joins(model: Mapping[str, Any], pre: str) -> None:
    """Refuses a BPE that joins pieces in another way than readers of GGUF files do.

    Raises:
        DataError: If an option is not that of the name.
    """
    usual = {"ignore_merges": pre in WHOLE_WORDS, **dict.fromkeys(JOINS)}
    for name, value in usual.items():
        if (model.get(name) or None) != (value or None):
            raise DataError(
                f"tokenizer.json: {name}={model.get(name)!r:.40} of a tokenizer that "
                f"cuts texts as {pre!r} has no GGUF file. Take --format=hf."
            )


def _plain(part: Any) -> Any:
    """Returns what matters of a part: defaults and offsets are left out."""
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind == "Sequence":
        steps = part.get("pretokenizers") or part.get("normalizers") or []
        return [_plain(step) for step in steps]
    kept = {k: v for k, v in part.items() if k not in ("trim_offsets", "invert")}
    if kind == "ByteLevel":
        kept = {"use_regex": True} | kept
    return [kept] if kind != "NFC" else kept


def _pieces(content: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Returns pieces and their kinds by id."""
    model = content["model"]
    names: dict[int, str] = {
        i: piece for piece, i in (model.get("vocab") or {}).items()
    }
    kinds = {
        i: BYTE if model.get("byte_fallback") and _BYTE.fullmatch(piece) else NORMAL
        for i, piece in names.items()
    }
    for token in content.get("added_tokens") or ():
        names[token["id"]] = token["content"]
        kinds[token["id"]] = CONTROL if token.get("special") else USER_DEFINED
        if token["content"] == model.get("unk_token"):
            kinds[token["id"]] = UNKNOWN
    if names and max(names) >= size:
        raise DataError(
            f"tokenizer.json has the id {max(names)}, but the table of tokens has "
            f"{size} rows."
        )
    pieces = [names.get(i, f"[PAD{i}]") for i in range(size)]
    if len(set(pieces)) < size:
        raise DataError("tokenizer.json has one piece under two ids.")
    fill = [UNUSED if _FILLER.fullmatch(piece) else NORMAL for piece in pieces]
    return pieces, [
        fill[i] if kinds.get(i, NORMAL) == NORMAL else kinds[i] for i in range(size)
    ]


def _merge(entry: Any) -> tuple[str, str]:
    left, right = entry if isinstance(entry, list) else entry.rsplit(" ", 1)
    return left, right


def _sentence_piece(
    content: Mapping[str, Any], pieces: list[str], merges: list[tuple[str, str]]
) -> dict[str, Any]:
    """Returns what is special to SentencePiece: scores that order the merges."""
    scores: dict[str, float] = {}
    for left, right in merges:
        scores.setdefault(left + right, -1.0 - len(scores))
    return {
        "model": SPM,
        "pre": "default",
        "scores": [scores.get(piece, 0.0) for piece in pieces],
        "add_space_prefix": _has_prefix(content),
    }


def _has_prefix(content: Mapping[str, Any]) -> bool:
    """Returns whether a space is put before a text.

    Raises:
        DataError: If spaces are not treated as in SentencePiece.
    """
    steps = _plain(content.get("normalizer")) or []
    words = content.get("pre_tokenizer") or {}
    kinds = [step[0].get("type") for step in steps]
    if kinds in (["Prepend", "Replace"], ["Replace"]) and not words:
        return kinds[0] == "Prepend"
    is_metaspace = words.get("type") == "Metaspace" and not words.get("split", True)
    if not steps and is_metaspace and words.get("replacement") == SPACE:
        return words.get("prepend_scheme", "always") != "never"
    raise DataError("tokenizer.json treats spaces in a way that GGUF has no name for.")


def _special(
    model: Foreign, content: Mapping[str, Any], ids: Mapping[str, int]
) -> dict[str, Any]:
    """Returns the special ids, and whether texts begin and end with some."""
    config = model.json("special_tokens_map.json") | model.json("tokenizer_config.json")
    found: dict[str, Any] = {}
    for name, other in NAMES.items():
        value = config.get(other)
        word = value.get("content") if isinstance(value, dict) else value
        number = ids.get(word) if isinstance(word, str) else None
        if number is None and name in ("bos", "eos"):
            number = model.config.get(f"{other}_id")
        if type(number) is int and 0 <= number < len(ids):
            found[f"{name}_token_id"] = number
    ends = list_ends({"config.json": json.dumps(model.config).encode(), **model.files})
    others = [i for i in ends if i != found.get("eos_token_id") and i < len(ids)]
    if others:
        found["eot_token_id"] = others[0]
    for name, place in (("bos", 0), ("eos", -1)):
        told = config.get(f"add_{name}_token")
        found[f"add_{name}_token"] = (
            told if isinstance(told, bool) else _is_around(content, place)
        )
    return found


def _is_around(content: Mapping[str, Any], place: int) -> bool:
    """Returns whether a special token stands at one end of each text."""
    steps = content.get("post_processor") or {}
    for step in steps.get("processors") or [steps]:
        if step.get("type") == "TemplateProcessing" and step.get("single"):
            return "SpecialToken" in step["single"][place]
    return False


def loses_template(model: Foreign, settings: Mapping[str, Any]) -> bool:
    """Whether a model has chat templates, and the settings of its file none."""
    named = any(model.files.get(name) for name in FILES if name.startswith("chat"))
    named = named or bool(model.json("tokenizer_config.json").get("chat_template"))
    return named and "tokenizer.chat_template" not in settings


def piece_settings(
    proto: bytes, special: Mapping[str, int], size: int
) -> dict[str, Any] | None:
    """Returns the settings of a sentencepiece model, or None if GGUF has no such kind.

    Args:
        proto: The serialized model.
        special: Ids of pad, bos, eos and unk, perhaps behind the pieces.
        size: Rows of the table of tokens.
    """
    from sentencepiece import sentencepiece_model_pb2

    model: Any = sentencepiece_model_pb2.ModelProto()  # pyright: ignore
    model.ParseFromString(proto)
    text = model.normalizer_spec
    is_plain = text.name == "identity" and not text.remove_extra_whitespaces
    if model.trainer_spec.model_type != model.trainer_spec.BPE or not is_plain:
        return None
    pieces = [piece.piece for piece in model.pieces]
    kinds = [_KINDS[piece.type] for piece in model.pieces]
    names = {number: f"<|{name}|>" for name, number in special.items()}
    for number in range(len(pieces), size):
        pieces.append(names.get(number, f"[PAD{number}]"))
        kinds.append(CONTROL if number in names else UNUSED)
    scores = [piece.score for piece in model.pieces]
    found = {
        "model": SPM,
        "pre": "default",
        "tokens": pieces,
        "scores": scores + [0.0] * (size - len(scores)),
        "token_type": kinds,
        "add_space_prefix": bool(text.add_dummy_prefix),
        "add_bos_token": True,
        "add_eos_token": False,
    }
    roles = dict(bos="bos", eos="eos", unk="unknown", pad="padding")
    for role, name in roles.items():
        if role in special:
            found[f"{name}_token_id"] = special[role]
    return {f"tokenizer.ggml.{name}": value for name, value in found.items()}


_KINDS = {1: NORMAL, 2: UNKNOWN, 3: CONTROL, 4: USER_DEFINED, 5: UNUSED, 6: BYTE}
"""Kinds of pieces, by their numbers in sentencepiece models."""
