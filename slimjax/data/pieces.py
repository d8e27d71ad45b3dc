r"""Training a sentencepiece model that loses nothing and fits its corpus.

Pieces may cross spaces, newlines and scripts (``"(self, "``, ``":\n    return "``):
code and prose need about a sixth fewer tokens so. Texts to be labelled are better read
in parts of words: a phrase that train lacks says nothing. All 256 bytes have a piece,
so that no text is unknown; the characters that get their own are chosen here, most
frequent first, because a Chinese text has more of them than a small vocabulary has room
for.

References:
    Kudo and Richardson, "SentencePiece: A simple and language independent subword
    tokenizer and detokenizer for Neural Text Processing", 2018.
    Liu et al., "SuperBPE: Space Travel for Language Models", 2025, on pieces that
    cross spaces.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable

from slimjax.data.config import MIN_VOCAB_SIZE, NUM_RESERVED
from slimjax.errors import ConfigError
from slimjax.text.cutting import cut_text

MAX_PIECE_CHARACTERS = 32
MAX_LINE_BYTES = 4096  # sentencepiece skips lines over 4,192 bytes, silently.
COVERAGE = 0.9995  # Share of the text whose characters get a piece, if there is room.
CHARACTER_ROOM = 7 / 8  # Of the free pieces; best on Chinese among 1/4, 1/2, ..., 1.
SPACE = "\u2581"  # What sentencepiece writes for a space.
BREAK = "\0"  # No piece crosses it. At the end, it keeps newlines from being stripped.

# Text that sentencepiece takes for its own signs: never learned from, still encoded.
_RESERVED = re.compile("<(?:pad|unk|/?s|0x[0-9A-F]{2})>|[\u2581\u2585\0]")


def train_pieces(
    passages: Iterable[str],
    vocab_size: int,
    *,
    within_words: bool = False,
    at_most: bool = False,
) -> bytes:
    """Returns a serialized model of `vocab_size` pieces, always the same one.

    Args:
        passages: Text in passages, as long as possible, newlines included.
        vocab_size: Number of pieces: 4 specials, 256 bytes, characters, merges.
        within_words: Whether no piece crosses a space.
        at_most: Whether there may be fewer pieces, where the text supports no more.

    Raises:
        ConfigError: If the text does not support so many; it names the most.
    """
    cleaned = (_RESERVED.sub(BREAK, text) for text in passages)
    lines = [line for text in cleaned for line in cut_text(text, MAX_LINE_BYTES)]
    lines.append(" ")  # A space must be a piece: its bytes would stand for U+2581.
    counts = Counter("".join(lines))
    del counts[BREAK]
    ranked = sorted(counts, key=lambda c: (c != " ", -counts[c], c))
    num_characters = _choose_num_characters(
        [counts[c] for c in ranked], vocab_size - NUM_RESERVED
    )
    while True:
        model, num_pieces = _train(
            lines, ranked, num_characters, vocab_size, within_words
        )
        missing = vocab_size - num_pieces
        if missing == 0:
            return model
        if num_characters == len(ranked):
            if at_most and num_pieces >= MIN_VOCAB_SIZE:
                return model
            raise ConfigError(_too_large(vocab_size, num_pieces))
        num_characters = min(num_characters + missing, len(ranked))


def _choose_num_characters(counts: list[int], room: int) -> int:
    """Returns how many characters get a piece, given how often each occurs."""
    total, covered, chosen = sum(counts), 0, 0
    while chosen < len(counts) and covered < COVERAGE * total:
        covered += counts[chosen]
        chosen += 1
    return max(1, min(chosen, int(room * CHARACTER_ROOM)))


def _train(
    lines: list[str],
    ranked: list[str],
    num_characters: int,
    vocab_size: int,
    within_words: bool,
) -> tuple[bytes, int]:
    """Trains once, with the first `num_characters` of `ranked` as pieces."""
    import sentencepiece

    rare = {ord(c): BREAK for c in ranked[num_characters:]}
    lines = [line.translate(rare) + BREAK for line in lines]
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=writer,
        vocab_size=vocab_size,
        model_type="bpe",
        character_coverage=1.0,  # Of `lines`, where rare ones are breaks already.
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        allow_whitespace_only_pieces=True,
        split_by_whitespace=within_words,
        split_by_unicode_script=False,
        max_sentencepiece_length=MAX_PIECE_CHARACTERS,
        hard_vocab_limit=False,  # Fewer pieces than asked for are not an error here.
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        num_threads=1,
        minloglevel=2,
    )
    model = writer.getvalue()
    return model, sentencepiece.SentencePieceProcessor(model_proto=model).vocab_size()


def _too_large(vocab_size: int, largest: int) -> str:
    start = f"config.data.vocab_size={vocab_size} is more than this corpus supports"
    if largest >= MIN_VOCAB_SIZE:
        return f"{start}; the largest is {largest}."
    return f"{start}, as is any other. Add text, or set config.data.tokenizer=bytes."
