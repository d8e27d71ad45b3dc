"""The settings of data that say how images are read."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from slimjax.errors import ConfigError, suggest
from slimjax.paths import user_path
from slimjax.text.files import show

FITS = ("pad", "crop", "stretch")
MAX_SIDE = 1 << 13
MAX_PIXELS = 1 << 28
SHAPING = ("image_size", "image_fit", "channels", "normalize")
"""Settings that decide what a model reads of an image: their values are its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """How images become arrays ``[height, width, channels]`` of bytes.

    Attributes:
        image_size: Height and width to which images are scaled, such as ``64`` or
            ``[48, 64]``; 0 means that all have one size already.
        image_fit: How an image of another shape is fitted: ``pad`` keeps all of it on
            white, ``crop`` keeps its middle, ``stretch`` changes its shape.
        channels: 1 for grey or 3 for colour; images of the other kind are converted.
        max_pixels: Most pixels of an image file; a larger one is refused before it is
            decoded.
        image_dir: Folder of the images that rows name; empty for that of the file.
        rows_per_image: Rows of one image, such as its questions, that stand together in
            training batches, and for which it is read once.
    """

    image_size: int | tuple[int, ...] = 0
    image_fit: str = "pad"
    channels: int = 3
    max_pixels: int = 64_000_000
    image_dir: str = ""
    rows_per_image: int = 1

    @property
    def image_shape(self) -> tuple[int, int] | None:
        """Height and width of all images; None if that of the data is taken."""
        size = self.image_size
        pair = (size, size) if isinstance(size, int) else tuple(size)
        return (pair[0], pair[1]) if pair[0] else None

    @property
    def image_folder(self) -> str:
        """Folder of the images that rows name; "" for that of the file."""
        if not self.image_dir:
            return ""
        return os.fspath(user_path(self.image_dir, "config.data.image_dir"))

    def check_images(self) -> None:
        """Raises `ConfigError` for an invalid value, by the name of the setting."""
        size = self.image_size
        is_pair = isinstance(size, list | tuple)
        sides = tuple(size) if is_pair else (size, size)
        are_sides = (type(s) is int and is_pair <= s <= MAX_SIDE for s in sides)
        if len(sides) != 2 or not all(are_sides):
            raise ConfigError(
                f"config.data.image_size={show(size)} is not a size. Set one side, or "
                f"[height, width], from 1 to {MAX_SIDE}; 0 keeps that of the images."
            )
        if self.image_fit not in FITS:
            hint = suggest(show(self.image_fit), FITS)
            raise ConfigError(
                f"config.data.image_fit={show(self.image_fit)} is not a choice. {hint}"
            )
        if self.channels not in (1, 3) or isinstance(self.channels, bool):
            raise ConfigError(
                f"config.data.channels={show(self.channels)} is invalid. Set 1 for "
                "grey, or 3 for colour."
            )
        rows = self.rows_per_image
        if type(rows) is not int or rows < 1:
            raise ConfigError(
                f"config.data.rows_per_image={show(rows)} is invalid. Set a whole "
                "number, 1 or more."
            )
        most = self.max_pixels
        if type(most) is not int or not 1 <= most <= MAX_PIXELS:
            raise ConfigError(
                f"config.data.max_pixels={show(most)} is invalid. Set a whole number "
                f"from 1 to {MAX_PIXELS}."
            )


def plain_normalize(value: Sequence[float]) -> tuple[float, ...]:
    """Returns the shortest way to write ``config.data.normalize``, to compare two.

    Examples:
        >>> plain_normalize([0.5, 0.5, 0.5, 0.2, 0.2, 0.2]), plain_normalize([0, 1])
        ((0.5, 0.2), ())
    """
    half = len(value) // 2
    means, deviations = tuple(value[:half]), tuple(value[half:])
    if len({*means}) == len({*deviations}) == 1:
        means, deviations = means[:1], deviations[:1]
    plain = tuple(map(float, means + deviations))
    return () if plain == (0.0, 1.0) else plain


def check_normalize(value: Any, channels: int) -> None:
    """Refuses what is not a mean and a deviation, of all numbers or of each channel.

    Args:
        value: ``config.data.normalize``.
        channels: Those of images.

    Raises:
        ConfigError: If it is not.
    """
    half = len(value) // 2
    if not value or (len(value) in (2, 2 * channels) and min(value[half:]) > 0):
        return
    raise ConfigError(
        f"config.data.normalize={show(value)} is invalid. Set [mean, deviation], the "
        f"deviation above 0; of images also {channels} means and then {channels} "
        "deviations, those of channels."
    )
