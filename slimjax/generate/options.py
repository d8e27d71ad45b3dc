"""How text is to be written: the same names and defaults for command and library.

No jax is loaded here, so that a command can refuse its flags at once.
"""

import dataclasses
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from slimjax.errors import ConfigError

MAX_NEW_TOKENS = 1 << 20
"""Most tokens for one prompt: each of them needs a place in the cache."""

MAX_SAMPLES = 1 << 12
"""Most texts for one prompt."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What a text is written with.

    Attributes:
        max_new_tokens: Most tokens for each text.
        temperature: Divides the scores of tokens; 0 always takes the best (greedy).
        top_k: Only the k best tokens are drawn from; 0 for all.
        top_p: Only the best tokens that together reach this probability are drawn
            from; 1 for all.
        seed: Root of the randomness, in [0, 2^32).
        num_samples: Texts for each prompt.
        stop: Strings before which a text ends, as its end of text would.
        weights: float32, bfloat16 or int8; empty for the dtype of the model.
        chat: Whether a prompt is the message of a user, in the model's chat template.
    """

    max_new_tokens: int = 128
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    num_samples: int = 1
    stop: Sequence[str] = ()
    weights: str = ""
    chat: bool = False

    def __post_init__(self):
        """Takes numbers of NumPy as what they are, and refuses what is out of range.

        Raises:
            ConfigError: Naming the flag.
        """
        self._set_integer("max_new_tokens", 1, MAX_NEW_TOKENS)
        self._set_integer("top_k", 0, 2**31 - 1)
        self._set_integer("seed", 0, 2**32 - 1)
        self._set_integer("num_samples", 1, MAX_SAMPLES)
        self._set_number("temperature")
        self._set_number("top_p")
        if self.temperature < 0:
            raise ConfigError(f"--temperature={self.temperature} must be 0 or more.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"--top_p={self.top_p} must be above 0 and at most 1.")
        self._set("stop", _check_stop(self.stop))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _set_integer(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        try:
            number = operator.index(value)
        except TypeError:
            raise ConfigError(f"--{name}={value!r} must be an integer.") from None
        if not least <= number <= most:
            raise ConfigError(f"--{name}={number} must be in [{least}, {most}].")
        self._set(name, number)

    def _set_number(self, name: str) -> None:
        value = getattr(self, name)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(f"--{name}={value!r} must be a finite number.")
        self._set(name, number)


def _check_stop(stop: str | Iterable[str]) -> tuple[str, ...]:
    strings = (stop,) if isinstance(stop, str) else tuple(stop)
    for string in strings:
        if not isinstance(string, str) or not string:
            raise ConfigError(f"--stop={string!r} must be a text that is not empty.")
    return strings


def check_prompt(prompt: Any, name: str = "--prompt") -> str:
    """Returns a prompt, if it is a text that can be encoded.

    Raises:
        ConfigError: If it is not a text, or holds bytes that are not UTF-8.
    """
    if not isinstance(prompt, str):
        raise ConfigError(f"{name}={prompt!r:.60} must be a text.")
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{name} is not UTF-8 at character {error.start + 1}; write it in UTF-8 "
            "(iconv -t UTF-8 converts files)."
        ) from None
    return prompt


def check_prompts(prompts: str | Iterable[str]) -> list[str]:
    """Returns a list of prompts; a string is one.

    Raises:
        ConfigError: If one of them is not a text, or is not UTF-8.

    Examples:
        >>> check_prompts("abc"), check_prompts([])
        (['abc'], [])
    """
    if isinstance(prompts, str):
        return [check_prompt(prompts)]
    if not isinstance(prompts, Iterable):
        raise ConfigError(f"prompts={prompts!r:.60} must be a text or a list of texts.")
    return [check_prompt(text, f"prompts[{i}]") for i, text in enumerate(prompts)]


DEFAULTS = Options()
