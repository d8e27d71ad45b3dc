"""Which tokenizer a config asks for: one that is trained, plain bytes, or a file."""

from pathlib import Path

from slimjax.data.cache import Info, hash_json, open_entry
from slimjax.data.config import DataConfig
from slimjax.data.tokenizer import (
    BytesTokenizer,
    Tokenizer,
    load_tokenizer,
    train_tokenizer,
)
from slimjax.text.survey import Progress

FORMAT = 1  # Part of a name in the cache: another way of training counts it up.


def choose_tokenizer(
    config: DataConfig, passages: list[str], report: Progress
) -> Tokenizer:
    """Returns the tokenizer of a config, trained on `passages` or from the cache.

    Args:
        config: Names it.
        passages: Text of the train split.
        report: Called with ``tokenizer`` and the fraction that is done.

    Raises:
        ConfigError: If the text does not support ``vocab_size``.
    """
    if config.tokenizer == "bytes":
        return BytesTokenizer()
    report("tokenizer", 0.0)

    def build(folder: Path) -> Info:
        train_tokenizer(passages, config.vocab_size).save(folder)
        return {}

    name = hash_json(FORMAT, config.vocab_size, passages)
    tokenizer = open_entry(
        f"tokenizer-{name[:32]}", build, lambda folder, _: load_tokenizer(folder)
    )
    report("tokenizer", 1.0)
    return tokenizer


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Returns the ids of a tokenizer that have a meaning of their own."""
    ids = {
        "pad": tokenizer.pad_id,
        "bos": tokenizer.bos_id,
        "eos": tokenizer.eos_id,
    }
    return ids
