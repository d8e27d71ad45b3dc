"""The vocabulary of a GGUF file: pieces, their kinds, and what tells how they join."""

import dataclasses
from typing import Any

import numpy as np

from slimjax.interop.gguf_header import Header
from slimjax.interop.gguf_settings import check_special

BPE, SPM, WPM = "gpt2", "llama", "bert"
MODELS = (BPE, SPM, WPM)
"""Kinds of tokenizers: byte-level BPE, SentencePiece, WordPiece."""

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Kinds of pieces, by their numbers in GGUF files."""

PRE_TOKENIZERS = {
    "smollm": "smollm",
    "qwen2": "qwen2",
    "gpt-2": "gpt-2",
    "llama-bpe": "llama-bpe",
    "llama3": "llama-bpe",
    "llama-v3": "llama-bpe",
}
"""How byte-level tokenizers cut a text first, by the names of files."""

_SPECIAL = ("bos", "eos", "unknown", "seperator", "padding", "cls", "mask")
_ENDS = ("eot", "eom")
_DEFAULTS = {
    BPE: {},
    SPM: {"bos": 1, "eos": 2, "unknown": 0},
    WPM: {"unknown": 100, "seperator": 102, "padding": 0, "cls": 101, "mask": 103},
}
"""Ids of special tokens where a file does not tell them."""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What a GGUF file tells of its tokenizer.

    Attributes:
        model: One of `MODELS`.
        pre: How a text is cut first; of `BPE` alone.
        pieces: The pieces by id.
        kinds: Their kinds.
        scores: Their scores, of `SPM` alone.
        merges: Pairs that join, first ones first, of `BPE` alone.
        special: Ids with a meaning, by the names of GGUF files.
        adds: Whether texts begin with ``bos`` and end with ``eos``.
        options: Other settings of the tokenizer, without their prefix.
    """

    model: str
    pre: str
    pieces: list[str]
    kinds: list[int]
    scores: np.ndarray | None
    merges: list[str]
    special: dict[str, int]
    adds: dict[str, bool]
    options: dict[str, Any]


def read_vocabulary(header: Header, size: int) -> Vocabulary | None:
    """Returns the vocabulary of a file, or None if it has no tokenizer.

    Args:
        header: The header of the file.
        size: Rows of the table of tokens.

    Raises:
        DataError: If it is not complete, or of a kind that is not known.
    """
    prefix = "tokenizer.ggml."
    options = {
        key.removeprefix(prefix): value
        for key, value in header.settings.items()
        if key.startswith(prefix)
    }
    model = options.get("model", "none" if not options else None)
    if model in ("none", "no_vocab"):
        return None
    if model not in MODELS:
        raise header.refuse(
            f"tokenizer.ggml.model={model!r:.40} is not supported. "
            f"Known: {', '.join(MODELS)}."
        )
    pieces = _read_pieces(header, options, size)
    return Vocabulary(
        model=model,
        pre=_read_pre(header, options) if model == BPE else "",
        pieces=pieces,
        kinds=_read_kinds(header, options, size),
        scores=_read_scores(header, options, size) if model == SPM else None,
        merges=_read_merges(header, options, pieces) if model == BPE else [],
        special=_read_special(header, model, size),
        adds=_read_adds(header, options, model),
        options=options,
    )


def _read_pieces(header: Header, options: dict[str, Any], size: int) -> list[str]:
    pieces = options.get("tokens")
    if not isinstance(pieces, list) or len(pieces) != size:
        raise header.refuse(f"tokenizer.ggml.tokens must be a list of {size} texts.")
    if len(set(pieces)) < size or "" in pieces:
        raise header.refuse("tokenizer.ggml.tokens has a piece twice, or an empty one.")
    return pieces


def _read_kinds(header: Header, options: dict[str, Any], size: int) -> list[int]:
    kinds = options.get("token_type", np.full(size, NORMAL))
    is_list = isinstance(kinds, np.ndarray) and kinds.dtype.kind in "iu"
    if not is_list or len(kinds) != size or not np.isin(kinds, range(1, 7)).all():
        raise header.refuse(
            f"tokenizer.ggml.token_type must have {size} kinds, 1 to 6."
        )
    return [int(kind) for kind in kinds]


def _read_scores(header: Header, options: dict[str, Any], size: int) -> np.ndarray:
    scores = options.get("scores", np.zeros(0))
    is_list = isinstance(scores, np.ndarray) and scores.dtype.kind == "f"
    if not is_list or len(scores) != size or not np.isfinite(scores).all():
        raise header.refuse(f"tokenizer.ggml.scores must have {size} finite numbers.")
    return scores


def _read_merges(
    header: Header, options: dict[str, Any], pieces: list[str]
) -> list[str]:
    merges, known = options.get("merges"), set(pieces)
    if not isinstance(merges, list):
        raise header.refuse("tokenizer.ggml.merges is missing, or is no list of texts.")
    for merge in merges:
        left, right = split_merge(merge)
        if not right or not {left, right, left + right} <= known:
            raise header.refuse(
                f"tokenizer.ggml.merges has {merge!r:.80}, which does not join two "
                "pieces to one."
            )
    return merges


def split_merge(merge: str) -> tuple[str, str]:
    """Returns both halves of a merge; a space may begin the first.

    Examples:
        >>> split_merge("a bc")
        ('a', 'bc')
    """
    border = merge.find(" ", 1)
    return (merge[:border], merge[border + 1 :]) if border > 0 else (merge, "")


def _read_pre(header: Header, options: dict[str, Any]) -> str:
    pre = options.get("pre")
    if pre not in PRE_TOKENIZERS:
        raise header.refuse(
            f"tokenizer.ggml.pre={pre!r:.40} is not supported. "
            f"Known: {', '.join(PRE_TOKENIZERS)}."
        )
    return PRE_TOKENIZERS[pre]


def _read_special(header: Header, model: str, size: int) -> dict[str, int]:
    special = {}
    for name in (*_SPECIAL, *_ENDS):
        value = check_special(header, f"tokenizer.ggml.{name}_token_id", size)
        default = _DEFAULTS[model].get(name, size)
        if value is None and default < size:
            value = default
        if value is not None:
            special[name] = value
    return special


def _read_adds(header: Header, options: dict[str, Any], model: str) -> dict[str, bool]:
    """Returns whether special tokens stand around a text."""
    is_llama3 = PRE_TOKENIZERS.get(str(options.get("pre"))) == "llama-bpe"
    usual = {"bos": model != BPE or is_llama3, "eos": model == WPM}
    adds = {}
    for name, default in usual.items():
        value = options.get(f"add_{name}_token", default)
        if not isinstance(value, bool):
            raise header.refuse(f"tokenizer.ggml.add_{name}_token is no flag.")
        adds[name] = value
    return adds
