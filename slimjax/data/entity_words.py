"""Words that entities touch, given the characters at which entities begin and end."""

import bisect
import dataclasses
from collections.abc import Sequence

from slimjax.text.examples import Example
from slimjax.text.span_kinds import OUTSIDE
from slimjax.text.words import Words, join_tokens, split_text


def words_of(example: Example) -> Words:
    """Returns the words of an example: its tokens, or those of its text."""
    if "tokens" in example.values:
        return join_tokens(example.values["tokens"])
    return split_text(example.values["text"])


def tag_entities(words: Words, entities: Sequence[tuple[int, int, str]]) -> list[str]:
    """Returns the tag of each word, given entities by their characters.

    Examples:
        >>> words = split_text("Ada saw New York")
        >>> tag_entities(words, [(0, 3, "PER"), (8, 16, "LOC")])
        ['B-PER', 'O', 'B-LOC', 'I-LOC']
    """
    tags = [OUTSIDE] * len(words.texts)
    for (first, last), (_, _, kind) in zip(
        find_words(words, entities), entities, strict=True
    ):
        for place in range(first, last):
            tags[place] = f"{'B' if place == first else 'I'}-{kind}"
    return tags


def find_words(
    words: Words, entities: Sequence[tuple[int, int, str]]
) -> list[tuple[int, int]]:
    """Returns the first word that each entity touches, and the one after its last."""
    ends = [end for _, end in words.spans]
    starts = [start for start, _ in words.spans]
    return [
        (bisect.bisect_right(ends, start), bisect.bisect_left(starts, end))
        for start, end, _ in entities
    ]


def widen_entities(example: Example) -> Example:
    """Returns an example whose entities have the ends of the words that they touch.

    Answers are whole words, and can be equal to no others.
    """
    words, entities = words_of(example), example.values["entities"]
    found = tuple(
        (words.spans[first][0], words.spans[last - 1][1], kind)
        for (first, last), (_, _, kind) in zip(
            find_words(words, entities), entities, strict=True
        )
    )
    return dataclasses.replace(example, values={**example.values, "entities": found})
