"""The content of ``tokenizer.json``, from the vocabulary of a GGUF file."""

import itertools
from collections.abc import Iterator
from typing import Any

from slimjax.interop.gguf_pieces import (
    BYTE,
    CONTROL,
    UNKNOWN,
    USER_DEFINED,
    Vocabulary,
    split_merge,
)

SPACE = "\u2581"
"""What stands for a space in pieces of SentencePiece, and before words in GGUF."""

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}|"
    r" ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_NUMBERS = {"qwen2": r"\p{N}", "llama-bpe": r"\p{N}{1,3}"}


def pre_tokenizer(pre: str) -> dict[str, Any]:
    """Returns how a text is cut before pieces join, by the name in GGUF files.

    References:
        The files of SmolLM2, Qwen2, GPT-2 and Llama 3.
    """
    bytes_alone = _byte_level(use_regex=pre in ("smollm", "gpt-2"))
    if pre == "gpt-2":
        return bytes_alone
    if pre == "smollm":
        first: dict[str, Any] = {"type": "Digits", "individual_digits": True}
    else:
        pattern = {"Regex": _WORDS.format(numbers=_NUMBERS[pre])}
        first = {"type": "Split", "pattern": pattern, "behavior": "Isolated"}
        first["invert"] = False
    return {"type": "Sequence", "pretokenizers": [first, bytes_alone]}


def normalizer(pre: str) -> dict[str, Any] | None:
    """Returns what is done to a text before it is cut."""
    return {"type": "NFC"} if pre == "qwen2" else None


def _byte_level(*, use_regex: bool = True) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": use_regex,
    }


def byte_level(vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns the content for a byte-level BPE."""
    model = _bpe(vocabulary, [split_merge(merge) for merge in vocabulary.merges])
    model["ignore_merges"] = vocabulary.pre == "llama-bpe"
    return _content(
        vocabulary,
        model=model,
        normalizer=normalizer(vocabulary.pre),
        pre_tokenizer=pre_tokenizer(vocabulary.pre),
        decoder=_byte_level(),
    )


def sentence_piece(vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns the content for SentencePiece's BPE, whose scores order the joins."""
    model = _bpe(vocabulary, list(_merges_by_score(vocabulary)))
    has_bytes = BYTE in vocabulary.kinds
    model |= {"byte_fallback": has_bytes, "fuse_unk": True}
    unknown = vocabulary.special.get("unknown")
    model["unk_token"] = None if unknown is None else vocabulary.pieces[unknown]
    has_prefix = vocabulary.options.get("add_space_prefix", True)
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    ]
    back: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if has_prefix:
        steps.insert(0, {"type": "Prepend", "prepend": SPACE})
        back.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return _content(
        vocabulary,
        model=model,
        normalizer={"type": "Sequence", "normalizers": steps},
        decoder={"type": "Sequence", "decoders": back},
    )


def word_piece(vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns the content for BERT's WordPiece.

    GGUF files mark pieces that begin a word, ``tokenizer.json`` those that do not.
    """
    entries = {
        _word(piece, kind): number
        for number, (piece, kind) in enumerate(
            zip(vocabulary.pieces, vocabulary.kinds, strict=True)
        )
    }
    unknown = vocabulary.special.get("unknown", 0)
    is_lower = not any(
        letter.isupper()
        for piece, kind in zip(vocabulary.pieces, vocabulary.kinds, strict=True)
        if piece.startswith(SPACE) and kind not in (CONTROL, UNKNOWN)
        for letter in piece.removeprefix(SPACE)
        if not piece.removeprefix(SPACE).startswith("[")
    )
    lowercase = vocabulary.options.get("normalizer.lowercase", is_lower)
    return _content(
        vocabulary,
        model={
            "type": "WordPiece",
            "unk_token": vocabulary.pieces[unknown],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": entries,
        },
        normalizer={
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": vocabulary.options.get("normalizer.strip_accents"),
            "lowercase": lowercase,
        },
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    )


def _word(piece: str, kind: int) -> str:
    if piece.startswith(SPACE):
        return piece.removeprefix(SPACE)
    is_whole = kind in (CONTROL, UNKNOWN, USER_DEFINED)
    is_named = piece.startswith("[") and piece.endswith("]") and len(piece) > 2
    return piece if is_whole or is_named else f"##{piece}"


def _bpe(vocabulary: Vocabulary, merges: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": {piece: number for number, piece in enumerate(vocabulary.pieces)},
        "merges": [list(merge) for merge in merges],
    }


def _merges_by_score(vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """Yields all joins of two pieces to one, the best scores first."""
    ids = {
        piece: number
        for number, piece in enumerate(vocabulary.pieces)
        if vocabulary.kinds[number] not in (BYTE, CONTROL, UNKNOWN)
    }
    assert vocabulary.scores is not None
    found = []
    for piece, number in ids.items():
        for border in range(1, len(piece)):
            left, right = piece[:border], piece[border:]
            if left in ids and right in ids:
                score = -float(vocabulary.scores[number])
                found.append((score, number, ids[left], ids[right]))
    for _, _, left, right in sorted(found):
        yield vocabulary.pieces[left], vocabulary.pieces[right]


def _content(vocabulary: Vocabulary, **parts: Any) -> dict[str, Any]:
    """Returns the whole content, of its parts."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(vocabulary),
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": _post_processor(vocabulary),
        **parts,
    }


def _added(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    kinds = zip(vocabulary.pieces, vocabulary.kinds, strict=True)
    return [
        {
            "id": number,
            "content": piece,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind != USER_DEFINED,
        }
        for number, (piece, kind) in enumerate(kinds)
        if kind in (CONTROL, UNKNOWN, USER_DEFINED)
    ]


def _post_processor(vocabulary: Vocabulary) -> dict[str, Any] | None:
    """Returns what puts special tokens around a text, if any do."""
    special = vocabulary.special
    first = special.get("cls", special.get("bos")) if vocabulary.adds["bos"] else None
    last = special.get("seperator", special.get("eos"))
    last = last if vocabulary.adds["eos"] else None
    if first is None and last is None:
        return None
    token = lambda i, kind: {
        "SpecialToken": {"id": vocabulary.pieces[i], "type_id": kind}
    }
    text = lambda name, kind: {"Sequence": {"id": name, "type_id": kind}}
    around = lambda name, kind, begin: [
        *([token(begin, kind)] if begin is not None else []),
        text(name, kind),
        *([token(last, kind)] if last is not None else []),
    ]
    is_pair_marked = "cls" in special  # BERT: [CLS] A [SEP] B [SEP].
    second = around("B", 1, None if is_pair_marked else first)
    used = dict.fromkeys(i for i in (first, last) if i is not None)
    return {
        "type": "TemplateProcessing",
        "single": around("A", 0, first),
        "pair": list(itertools.chain(around("A", 0, first), second)),
        "special_tokens": {
            vocabulary.pieces[i]: {
                "id": vocabulary.pieces[i],
                "ids": [i],
                "tokens": [vocabulary.pieces[i]],
            }
            for i in used
        },
    }
