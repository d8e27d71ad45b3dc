"""What varies in a sweep: ``a.b=v1,v2``, each value JSON or a bare word.

Settings that go together are values of their block: ``objective={"strategy": "none",
"budget": ""},{"strategy": "exchange", "budget": "40%"}``.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator

from slimjax.config import parse_value
from slimjax.errors import ConfigError

MAX_ARMS = 10_000


@dataclasses.dataclass(frozen=True)
class Axis:
    """One setting and its values.

    Attributes:
        name: The setting, such as ``objective.budget``.
        words: Its values as they were written, such as ``25e3``; all different.
    """

    name: str
    words: tuple[str, ...]


def parse_axis(text: str) -> Axis:
    """Reads one ``--grid``; commas inside of JSON lists, objects or strings are theirs.

    Raises:
        ConfigError: If it names no setting or no value, or one twice.

    Examples:
        >>> parse_axis("objective.budget=25e3,40%")
        Axis(name='objective.budget', words=('25e3', '40%'))
        >>> parse_axis('a.b=[1,2],[3],"x,y"').words
        ('[1,2]', '[3]', '"x,y"')
    """
    name, equals, values = text.partition("=")
    where = f"--grid={text}"
    if not equals or not all(name.split(".")):
        raise ConfigError(
            f"{where} must be SETTING=VALUE,VALUE, such as objective.budget=30%,50%."
        )
    if name == "seed":
        raise ConfigError(
            f"{where}: seeds are counted up from config.seed; use --seeds."
        )
    words = tuple(_split(values, where))
    seen: dict[str, str] = {}
    for word in words:
        value = json.dumps(_as_number(parse_value(word)), sort_keys=True)
        if value in seen:
            raise ConfigError(f"{where}: {seen[value]} and {word} are the same value.")
        seen[value] = word
    return Axis(name, words)


def multiply(axes: Iterable[Axis]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Yields all combinations as ``(setting, word)`` pairs, the last axis fastest.

    Raises:
        ConfigError: If two axes vary the same setting.
    """
    axes = list(axes)
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"--grid={name}=... stands twice; give all its values once."
            )
    num_arms = math.prod(len(axis.words) for axis in axes)
    if num_arms > MAX_ARMS:
        raise ConfigError(f"--grid gives {num_arms:,} arms, more than {MAX_ARMS:,}.")
    for words in itertools.product(*(axis.words for axis in axes)):
        yield tuple(zip(names, words, strict=True))


def _split(text: str, where: str) -> Iterator[str]:
    """Yields the words between commas; JSON after ``[``, ``{`` or ``"`` is one."""
    decoder, start = json.JSONDecoder(), 0
    while True:
        if text[start : start + 1] in ("[", "{", '"'):
            try:
                _, end = decoder.raw_decode(text, start)
            except ValueError as error:
                raise ConfigError(f"{where} is no JSON: {error}.") from None
        else:
            end = text.find(",", start)
            end = len(text) if end < 0 else end
        word = text[start:end].strip()
        if not word:
            raise ConfigError(
                f'{where} has an empty value; write "" for an empty text.'
            )
        if end < len(text) and text[end] != ",":
            raise ConfigError(f"{where}: a comma must follow {word}.")
        yield word
        if end >= len(text):
            return
        start = end + 1


def _as_number(value: object) -> object:
    """Returns whole floats as integers, so that 25e3 is 25000."""
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value  # pyright: ignore[reportArgumentType]
