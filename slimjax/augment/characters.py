"""Slips of the hand: characters that are swapped, dropped, doubled, or mistyped."""

from collections.abc import Mapping

import numpy as np

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""The letters of a QWERTY keyboard, each row half a key to the right of the one above.
"""


def swap(text: str, rate: float, generator: np.random.Generator) -> str:
    """Returns a text in which some characters have changed places with the next one.

    Args:
        text: The text.
        rate: Fraction of the characters.
        generator: Decides which.
    """
    characters, place = list(text), 0
    chosen = generator.random(max(len(characters) - 1, 0)) < rate
    while place < len(chosen):
        if chosen[place]:
            pair = characters[place : place + 2]
            characters[place : place + 2] = pair[::-1]
            place += 1  # No character is moved twice.
        place += 1
    return "".join(characters)


def drop(text: str, rate: float, generator: np.random.Generator) -> str:
    """Returns a text without some characters; it keeps one that is no space."""
    kept = generator.random(len(text)) >= rate
    found = "".join(c for c, keep in zip(text, kept, strict=True) if keep)
    return found if found.strip() else text


def double(text: str, rate: float, generator: np.random.Generator) -> str:
    """Returns a text in which some characters stand twice."""
    chosen = generator.random(len(text)) < rate
    return "".join(c * 2 if two else c for c, two in zip(text, chosen, strict=True))


def mistype(text: str, rate: float, generator: np.random.Generator) -> str:
    """Returns a text in which some letters are those of a key beside theirs.

    Capitals stay capitals. What is no letter of the keyboard stays as it is.
    """
    chosen, drawn = generator.random((2, len(text)))
    characters = list(text)
    for place in np.flatnonzero(chosen < rate):
        own = characters[place]
        near = NEIGHBOURS.get(own.lower(), own)
        new = near[int(drawn[place] * len(near))]
        if own.lower() in NEIGHBOURS:
            characters[place] = new.upper() if own.isupper() else new
    return "".join(characters)


def _find_neighbours() -> Mapping[str, str]:
    """Returns the keys that touch each key.

    Examples:
        >>> _find_neighbours()["a"]
        'qwsz'
    """
    places = {
        letter: (row, column + row / 2)
        for row, letters in enumerate(ROWS)
        for column, letter in enumerate(letters)
    }

    def touch(one: str, other: str) -> bool:
        rows, columns = zip(places[one], places[other], strict=True)
        away = abs(columns[0] - columns[1])
        return one != other and abs(rows[0] - rows[1]) <= 1 and away <= 1

    return {key: "".join(o for o in places if touch(key, o)) for key in places}


NEIGHBOURS = _find_neighbours()
"""The keys that touch each key."""
