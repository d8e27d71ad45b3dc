"""The shape of a corpus: where its text comes from and how it becomes batches."""

import dataclasses

from slimjax.errors import ConfigError, suggest
from slimjax.text.files import show
from slimjax.text.sources import parse_source

TOKENIZERS = ("sentencepiece", "bytes")
ON_BAD_DOCUMENT = ("error", "skip")
NUM_RESERVED = 260  # 4 specials and 256 bytes: no text is ever unknown.
MIN_VOCAB_SIZE = NUM_RESERVED + 4  # Then some room for characters and pieces.
MAX_SIZE = 1 << 20


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Everything that decides which batches a run sees, but for the seed.

    Attributes:
        source: ``stdlib``, ``text:GLOB`` or ``jsonl:GLOB#field``.
        tokenizer: ``sentencepiece``, trained on the corpus, or ``bytes``.
        vocab_size: Pieces of the sentencepiece tokenizer; ``bytes`` always has 259.
        seq_len: Tokens a row.
        batch_size: Rows a step, over all devices.
        valid_fraction: Share of the documents that steer a run, but don't train it.
        test_fraction: Share of the documents that nothing steers by.
        on_bad_document: ``error`` refuses unreadable text, ``skip`` counts it.

    Raises:
        ConfigError: If a value cannot be meant.
    """

    source: str = "stdlib"
    tokenizer: str = "sentencepiece"
    vocab_size: int = 2048
    seq_len: int = 128
    batch_size: int = 16
    valid_fraction: float = 0.05
    test_fraction: float = 0.05
    on_bad_document: str = "error"

    def __post_init__(self):
        """Refuses what cannot be meant, by the name of the setting."""
        parse_source(self.source)
        _check_choice("tokenizer", self.tokenizer, TOKENIZERS)
        _check_choice("on_bad_document", self.on_bad_document, ON_BAD_DOCUMENT)
        _check_size("seq_len", self.seq_len, 1)
        _check_size("batch_size", self.batch_size, 1)
        _check_size("vocab_size", self.vocab_size, 1)
        if self.tokenizer == "sentencepiece" and self.vocab_size < MIN_VOCAB_SIZE:
            raise ConfigError(
                f"config.data.vocab_size={self.vocab_size} is too small: 256 bytes and "
                f"4 specials come first. Set {MIN_VOCAB_SIZE} or more, or "
                "config.data.tokenizer=bytes."
            )
        _check_fraction("valid_fraction", self.valid_fraction)
        _check_fraction("test_fraction", self.test_fraction)


def _check_choice(key: str, value: object, choices: tuple[str, ...]):
    if value not in choices:
        hint = suggest(show(value), choices)
        raise ConfigError(f"config.data.{key}={show(value)} is not a choice. {hint}")


def _check_size(key: str, value: object, smallest: int):
    is_bool = isinstance(value, bool)
    if isinstance(value, int) and not is_bool and smallest <= value <= MAX_SIZE:
        return
    wanted = f"Set a whole number from {smallest} to {MAX_SIZE}."
    raise ConfigError(f"config.data.{key}={show(value)} is not a size. {wanted}")


def _check_fraction(key: str, value: object):
    is_bool = isinstance(value, bool)
    # The comparison is false for nan, too.
    if isinstance(value, int | float) and not is_bool and 0.0 <= value < 0.5:
        return
    wanted = "Set a fraction from 0 to below 0.5, such as 0.05."
    raise ConfigError(f"config.data.{key}={show(value)} is out of range. {wanted}")
