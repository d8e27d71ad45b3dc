"""Which tokenizer a config asks for: one that is trained, plain bytes, or a file."""

from pathlib import Path

from slimjax.data.cache import Info, hash_json, open_entry
from slimjax.data.config import DataConfig
from slimjax.data.json_tokenizer import JSON_FILE, SPECIAL_FILE
from slimjax.data.tokenizer import (
    BytesTokenizer,
    Tokenizer,
    load_tokenizer,
    read_tokenizer_file,
    train_tokenizer,
)
from slimjax.paths import user_path
from slimjax.text.survey import Progress

TRAINED_SPECIAL = {"pad": 0, "bos": 1, "eos": 2, "unk": 3}
"""Special ids of every tokenizer that is trained here."""

FORMAT = 1  # Part of a name in the cache: another way of training counts it up.


def choose_tokenizer(
    config: DataConfig,
    passages: list[str],
    report: Progress,
    *,
    within_words: bool = False,
) -> Tokenizer:
    """Returns the tokenizer of a config, trained on `passages` or from the cache.

    Args:
        config: Names it.
        passages: Text of the train split.
        report: Called with ``tokenizer`` and the fraction that is done.
        within_words: Whether pieces are parts of words where ``pieces`` does not say
            it, and there may be fewer than ``vocab_size`` of them.

    Raises:
        ConfigError: If the text does not support ``vocab_size``, or if the library of
            a file is missing.
        DataError: If the file is not a tokenizer.
    """
    if config.tokenizer == "bytes":
        return BytesTokenizer()
    if config.tokenizer != "sentencepiece":
        path = user_path(config.tokenizer, "config.data.tokenizer")
        if not path.is_dir():
            return read_tokenizer_file(path)
        is_of_a_run = (
            not (path / JSON_FILE).is_file() or (path / SPECIAL_FILE).is_file()
        )
        return (
            load_tokenizer(path)
            if is_of_a_run
            else read_tokenizer_file(path / JSON_FILE)
        )
    report("tokenizer", 0.0)
    options = dict(within_words=within_words, at_most=within_words)
    if config.pieces:
        options["within_words"] = config.pieces == "words"

    def build(folder: Path) -> Info:
        train_tokenizer(passages, config.vocab_size, **options).save(folder)
        return {}

    changed = [options] if any(options.values()) else []
    name = hash_json(FORMAT, config.vocab_size, passages, *changed)
    tokenizer = open_entry(
        f"tokenizer-{name[:32]}", build, lambda folder, _: load_tokenizer(folder)
    )
    report("tokenizer", 1.0)
    return tokenizer


def expected_vocab(config: DataConfig) -> tuple[int, dict[str, int]]:
    """Returns the vocabulary and its special ids, before any text is read.

    A corpus may support fewer pieces than the config asks for; it is then refused.

    Raises:
        ConfigError: If the library of a tokenizer's file is missing.
        DataError: If the file is not a tokenizer.
    """
    if config.tokenizer == "sentencepiece":
        return config.vocab_size, dict(TRAINED_SPECIAL)
    tokenizer = choose_tokenizer(config, [], lambda *_: None)
    return tokenizer.vocab_size, special_ids(tokenizer)


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Returns the ids of a tokenizer that have a meaning of their own."""
    return dict(tokenizer.special)
