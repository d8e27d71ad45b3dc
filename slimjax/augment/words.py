"""Changes of whole words, and of capitals. Words are those of `slimjax.text.words`."""

import numpy as np

CASES = (str.lower, str.upper, str.title)


def swap(words: list[str], rate: float, generator: np.random.Generator) -> list[str]:
    """Returns words of which some have changed places with the next one.

    Spaces stay where they are.

    Args:
        words: Each with the spaces before it, or without.
        rate: Fraction of the words.
        generator: Decides which.
    """
    spaces = [word[: len(word) - len(word.lstrip())] for word in words]
    bare, place = [word.lstrip() for word in words], 0
    chosen = generator.random(max(len(words) - 1, 0)) < rate
    while place < len(chosen):
        if chosen[place]:
            bare[place : place + 2] = bare[place : place + 2][::-1]
            place += 1  # No word is moved twice.
        place += 1
    return [space + word for space, word in zip(spaces, bare, strict=True)]


def drop(words: list[str], rate: float, generator: np.random.Generator) -> list[str]:
    """Returns words without some of them; one always stays."""
    kept = generator.random(len(words)) >= rate
    if len(words) and not kept.any():
        kept[generator.integers(len(words))] = True
    return [word for word, keep in zip(words, kept, strict=True) if keep]


def mask(
    words: list[str], rate: float, generator: np.random.Generator, sign: str
) -> list[str]:
    """Returns words in whose place a sign stands here and there."""
    chosen = generator.random(len(words)) < rate
    return [
        word[: len(word) - len(word.lstrip())] + sign if masked else word
        for word, masked in zip(words, chosen, strict=True)
    ]


def recase(text: str, rate: float, generator: np.random.Generator) -> str:
    """Returns a text in other cases: small, capital, or a capital at each word.

    Args:
        text: The text.
        rate: Probability that it changes.
        generator: Decides whether, and how.
    """
    draw, kind = generator.random(), int(generator.integers(len(CASES)))
    return CASES[kind](text) if draw < rate else text
