"""The block ``config.augment``: how training examples are changed in each step."""

import dataclasses
import math

from slimjax.errors import ConfigError

CHARACTERS = (
    "swap_characters",
    "drop_characters",
    "double_characters",
    "neighbour_keys",
)
WORDS = ("drop_words", "swap_words", "mask_words")
TEXTS = (*CHARACTERS, *WORDS, "casing")
"""Settings that change texts."""

IMAGES = ("flip", "shift", "crop", "brightness", "noise", "cutout")
"""Settings that change images, one by one."""

MAX_SHIFT = 1 << 10
MAX_NUMBER = 100.0


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """The block ``config.augment``: how training examples are changed in each step.

    Attributes:
        rows: Fraction of the rows that are changed at all, but for `mixup`. It is drawn
            once for all texts of a row, and once more for its image.
        swap_characters: Fraction of the characters that change places with the next.
        drop_characters: Fraction of the characters that are left out.
        double_characters: Fraction of the characters that stand twice.
        neighbour_keys: Fraction of the letters that become one beside them on a QWERTY
            keyboard.
        drop_words: Fraction of the words that are left out; one always stays.
        swap_words: Fraction of the words that change places with the next one.
        mask_words: Fraction of the words in whose place stands `mask`.
        mask: What stands there: text like any other. ``[MASK]`` is spelled out too, and
            never becomes the special token of a tokenizer.
        casing: Fraction of the texts that are written in small letters, in capitals, or
            with a capital at each word.
        flip: Whether half of the images are mirrored, left and right. Leave it out
            where answers may depend on the side.
        shift: Largest shift of an image, in pixels, in each direction. The border is
            repeated.
        crop: Smallest fraction of the sides of an image that is kept, and scaled to the
            full size; 0 for no cropping.
        brightness: Largest fraction by which pixels are brighter or darker.
        noise: Standard deviation of noise on pixels, which go from 0 to 1.
        cutout: Side of a square that becomes the mean colour of its image, as a
            fraction of the shorter side.
        mixup: Parameter of the Beta distribution from which the share of a row is
            drawn when it is mixed with another one, and so are their answers; 0 for no
            mixing. The paper has 0.1 to 0.4.

    Raises:
        ConfigError: If a value is invalid.
    """

    rows: float = 1.0
    swap_characters: float = 0.0
    drop_characters: float = 0.0
    double_characters: float = 0.0
    neighbour_keys: float = 0.0
    drop_words: float = 0.0
    swap_words: float = 0.0
    mask_words: float = 0.0
    mask: str = "_"
    casing: float = 0.0
    flip: bool = False
    shift: int = 0
    crop: float = 0.0
    brightness: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0
    mixup: float = 0.0

    def __post_init__(self):
        """Refuses invalid values, by the name of the setting."""
        for name in ("rows", *TEXTS, "crop", "brightness", "cutout"):
            self._check(name, 1.0)
        for name in ("noise", "mixup"):
            self._check(name, MAX_NUMBER)
        if not 0 <= self.shift <= MAX_SHIFT:
            raise ConfigError(
                f"config.augment.shift={self.shift} must be in [0, {MAX_SHIFT}]."
            )
        if not self.mask.strip():
            raise ConfigError("config.augment.mask is empty. Set a word, such as '_'.")

    @property
    def of_texts(self) -> list[str]:
        """Names of the settings that change texts here."""
        return [name for name in TEXTS if getattr(self, name)] if self.rows else []

    @property
    def of_images(self) -> list[str]:
        """Names of the settings that change images here."""
        return [name for name in IMAGES if getattr(self, name)] if self.rows else []

    def _check(self, name: str, most: float):
        value = getattr(self, name)
        if not (math.isfinite(value) and 0 <= value <= most):
            raise ConfigError(
                f"config.augment.{name}={value} must be in [0, {most:g}]."
            )
