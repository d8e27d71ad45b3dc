"""What each entry of a vocabulary is spelled with once it is gone.

An entry of a BPE has two parts, those that its last merge joins; one of Unigram the
pieces of its best segmentation by others; one of WordPiece those that the longest match
finds. Entries that nothing else spells have to stay: bytes, signs, special tokens.

References:
    Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units",
    2016, section 3.2 (BPE).
    Kudo, "Subword Regularization", 2018, section 3.2 (Unigram).
    Schuster and Nakajima, "Japanese and Korean voice search", 2012 (WordPiece).
"""

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slimjax.errors import DataError

BYTE = re.compile(r"<0x([0-9A-F]{2})>")

Parts = Mapping[str, tuple[str, ...]]
"""Parts of each entry that may go, in order."""


def list_parts(model: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Returns the parts of all entries that others spell.

    Args:
        model: The part ``model`` of a ``tokenizer.json`` file.

    Raises:
        DataError: If it is of a kind whose entries have no parts.
    """
    kind = model.get("type", "BPE")
    if kind not in _KINDS:
        raise DataError(
            f"a vocabulary of the kind {kind!r:.40} cannot be made smaller. Known: "
            f"{', '.join(_KINDS)}."
        )
    return _KINDS[kind](model)


def read_merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the pairs that a BPE joins, the first ones first."""
    entries = model.get("merges") or ()
    pairs = [e if isinstance(e, list | tuple) else e.rsplit(" ", 1) for e in entries]
    return [(left, right) for left, right in pairs]


def _of_bpe(model: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise DataError(f"a BPE with a {name} cannot be made smaller.")
    ranks = {pair: rank for rank, pair in reversed([*enumerate(read_merges(model))])}
    ways: dict[str, list[tuple[str, str]]] = {}
    for left, right in ranks:
        ways.setdefault(left + right, []).append((left, right))
    found, vocab = {}, model.get("vocab") or {}
    for piece in vocab:
        own = ways.get(piece, [])
        if len(own) == 1:
            found[piece] = own[0]
        elif len(piece) > 1 and not BYTE.fullmatch(piece):
            found[piece] = tuple(_join(list(piece), ranks, least=2))
    spelled = {piece: parts for piece, parts in found.items() if _all_in(parts, vocab)}
    return spelled | _of_characters(model, vocab)


def _join(
    symbols: list[str], ranks: Mapping[tuple[str, str], int], least: int
) -> list[str]:
    """Returns symbols as a BPE joins them, down to `least` of them."""
    while len(symbols) > least:
        pairs = itertools.pairwise(symbols)
        rank, i = min((ranks.get(pair, math.inf), i) for i, pair in enumerate(pairs))
        if rank == math.inf:
            break
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    return symbols


def _of_characters(
    model: Mapping[str, Any], vocab: Mapping[str, Any]
) -> dict[str, tuple[str, ...]]:
    """Returns the bytes of single characters, where a model falls back to bytes."""
    if not model.get("byte_fallback"):
        return {}
    spell = lambda piece: tuple(f"<0x{byte:02X}>" for byte in piece.encode())
    found = {piece: spell(piece) for piece in vocab if len(piece) == 1}
    return {piece: parts for piece, parts in found.items() if _all_in(parts, vocab)}


def _of_unigram(model: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    scores = {str(piece): float(score) for piece, score in model.get("vocab") or ()}
    longest = max(map(len, scores), default=0)
    found = {}
    for piece in scores:
        if len(piece) > 1 and not BYTE.fullmatch(piece):
            parts = _best_segments(piece, scores, longest)
            found |= {piece: parts} if parts else {}
    return found | _of_characters(model, scores)


def _best_segments(
    piece: str, scores: Mapping[str, float], longest: int
) -> tuple[str, ...]:
    """Returns the pieces of the largest sum of scores that spell a piece without it.

    Empty if there are none.
    """
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(piece) + 1):
        options = [
            (best[start][0] + scores[piece[start:end]], start)
            for start in range(max(0, end - longest), end)
            if end - start < len(piece) and piece[start:end] in scores
        ]
        best.append(max(options, default=(-math.inf, 0)))
    if best[-1][0] == -math.inf:
        return ()
    parts, end = [], len(piece)
    while end:
        start = best[end][1]
        parts.append(piece[start:end])
        end = start
    return tuple(reversed(parts))


def _of_word_piece(model: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    vocab = model.get("vocab") or {}
    prefix = model.get("continuing_subword_prefix") or "##"
    found = {}
    for piece in vocab:
        inner = piece.startswith(prefix)
        word = piece.removeprefix(prefix) if inner else piece
        signs = [
            f"{prefix}{sign}" if inner or i else sign for i, sign in enumerate(word)
        ]
        if len(word) > 1 and _all_in(signs, vocab):
            found[piece] = _longest_matches(word, prefix, vocab, inner)
    return found


def _longest_matches(
    word: str, prefix: str, vocab: Mapping[str, Any], inner: bool
) -> tuple[str, ...]:
    """Returns the pieces that spell a word, none of them the whole of it."""
    parts, start = [], 0
    while start < len(word):
        head = prefix if inner or start else ""
        ends = range(len(word) - (start == 0), start, -1)
        end = next(end for end in ends if head + word[start:end] in vocab)
        parts.append(head + word[start:end])
        start = end
    return tuple(parts)


def _all_in(parts: Sequence[str], vocab: Mapping[str, Any]) -> bool:
    return all(part in vocab for part in parts)


_KINDS: dict[str, Callable[[Mapping[str, Any]], dict[str, tuple[str, ...]]]] = {
    "BPE": _of_bpe,
    "Unigram": _of_unigram,
    "WordPiece": _of_word_piece,
}
