"""Texts as they are read in one step: words first, then cases, then characters."""

import itertools
from collections.abc import Mapping

import numpy as np

from slimjax.augment import characters, words
from slimjax.augment.config import WORDS, AugmentConfig
from slimjax.text.words import split_text


def make_generator(seed: int, step: int, row: int) -> np.random.Generator:
    """Returns what decides how the texts of a row change in a step.

    Args:
        seed: Seed of the run.
        step: Number of the step.
        row: Place of the row in its batch.
    """
    return np.random.default_rng([seed % 2**64, step, row, 0x7E57])


def change_row(
    texts: Mapping[str, str], config: AugmentConfig, generator: np.random.Generator
) -> dict[str, str]:
    """Returns all texts of a row, changed, or all as they are.

    Args:
        texts: The texts by name, none of them blank.
        config: What is changed, how often, and in which fraction of the rows.
        generator: Decides whether, and where.
    """
    if generator.random() >= config.rows:
        return dict(texts)
    return {name: change_text(text, config, generator) for name, text in texts.items()}


def change_text(
    text: str, config: AugmentConfig, generator: np.random.Generator
) -> str:
    """Returns a text with the changes that a config asks for.

    Args:
        text: The text, not blank.
        config: What is changed, and how often.
        generator: Decides where.

    Examples:
        >>> config = AugmentConfig(drop_words=0.5, casing=1.0)
        >>> change_text("a small test of words", config, make_generator(0, 1, 5))
        'Test Of'
    """
    if any(getattr(config, name) for name in WORDS):
        text = _change_words(text, config, generator)
    if config.casing:
        text = words.recase(text, config.casing, generator)
    changes = {
        characters.swap: config.swap_characters,
        characters.mistype: config.neighbour_keys,
        characters.double: config.double_characters,
        characters.drop: config.drop_characters,
    }
    for change, rate in changes.items():
        if rate:
            text = change(text, rate, generator)
    return text


def _change_words(
    text: str, config: AugmentConfig, generator: np.random.Generator
) -> str:
    ends = [end for _, end in split_text(text).spans]
    # Each word with the spaces before it, so that no other space is lost.
    found = [text[a:b] for a, b in itertools.pairwise([0, *ends])]
    if config.drop_words:
        found = words.drop(found, config.drop_words, generator)
    if config.swap_words:
        found = words.swap(found, config.swap_words, generator)
    if config.mask_words:
        found = words.mask(found, config.mask_words, generator, config.mask)
    return "".join(found).strip()
