"""From a picture to pixels of one shape: decoded, turned, on white, scaled.

Steps, in this order: the first frame; turned as its EXIF data say; numbers of 16 bits
to 8; transparent parts on white; grey or colour as asked; fitted into the size.
"""

import dataclasses
import importlib
import warnings
from typing import Any

import numpy as np
from jaxtyping import UInt8

from slimjax.data.image_config import ImageSettings
from slimjax.errors import ConfigError
from slimjax.text.files import show
from slimjax.text.source_images import SourceImage

WHITE = 255
MOST_16 = 65535


class BadImageError(Exception):
    """An image that cannot be read; its text ends a sentence about the image."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """What all images are made into.

    Attributes:
        height: Pixels, H.
        width: Pixels, W.
        channels: 1 or 3, C.
        how: ``pad``, ``crop`` or ``stretch``; ``same`` refuses other sizes.
    """

    height: int
    width: int
    channels: int
    how: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.height, self.width, self.channels


def choose_fit(picture: SourceImage, settings: ImageSettings) -> Fit:
    """Returns what images are made into; without a size, the size of the first one.

    Raises:
        BadImageError: If that cannot be read.
    """
    if settings.image_shape is not None:
        return Fit(*settings.image_shape, settings.channels, settings.image_fit)
    width, height = open_image(picture, settings.max_pixels).size
    return Fit(height, width, settings.channels, "same")


def decode(
    picture: SourceImage, fit: Fit, max_pixels: int
) -> UInt8[np.ndarray, "H W C"]:
    """Returns the pixels of a picture.

    Args:
        picture: A file, or an array.
        fit: What it is made into.
        max_pixels: Most pixels that a file may have.

    Raises:
        BadImageError: If it cannot be read, or is of another size where that must be
            the same.
        ConfigError: If Pillow is missing.
    """
    image = open_image(picture, max_pixels)
    image = image.convert("L" if fit.channels == 1 else "RGB")
    size = fit.width, fit.height
    if image.size != size:
        image = _resize(image, size, fit.how)
    return np.asarray(image, np.uint8).reshape(fit.shape)


def open_image(picture: SourceImage, max_pixels: int) -> Any:
    """Returns a picture as an image of Pillow, upright and without transparency.

    Raises:
        BadImageError: If it cannot be read, or has more pixels than `max_pixels`.
        ConfigError: If Pillow is missing.
    """
    pillow = import_pillow("Image")
    if picture.pixels is not None:
        return _without_alpha(_from_array(picture.pixels), pillow)
    turn = import_pillow("ImageOps").exif_transpose
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Large ones are refused here.
            with pillow.open(picture.path) as image:
                _check_pixels(image.size, max_pixels)
                image.load()
                return _without_alpha(_to_8_bits(turn(image), pillow), pillow)
    except pillow.DecompressionBombError:  # Before its size is known here.
        raise BadImageError(_explain_bomb(pillow, max_pixels)) from None
    except pillow.UnidentifiedImageError:
        raise BadImageError("is not an image that Pillow knows") from None
    except BadImageError:
        raise
    except Exception as error:  # Of a decoder; they have no common class.
        why = show(" ".join(str(error).split()) or type(error).__name__)
        raise BadImageError(f"is damaged: {why}") from None


def import_pillow(name: str) -> Any:
    """Returns a module of Pillow.

    Raises:
        ConfigError: If Pillow is missing.
    """
    try:
        return importlib.import_module(f"PIL.{name}")
    except ImportError:
        raise ConfigError(
            "Images need Pillow. Run: pip install 'slimjax[images]'"
        ) from None


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise BadImageError(
            f"has {size[0]:,} x {size[1]:,} pixels, more than config.data.max_pixels="
            f"{max_pixels:,}"
        )


def _explain_bomb(pillow: Any, max_pixels: int) -> str:
    """Returns which limit an image exceeds that Pillow does not open.

    Pillow refuses more than twice its ``MAX_IMAGE_PIXELS``.
    """
    most = 2 * pillow.MAX_IMAGE_PIXELS
    if max_pixels <= most:
        return f"has more pixels than config.data.max_pixels={max_pixels:,}"
    return f"has more than {most:,} pixels, the most that Pillow opens"


def _from_array(pixels: np.ndarray) -> Any:
    """Returns an array ``[H W]`` or ``[H W C]`` as an image."""
    if pixels.dtype == np.uint16:
        pixels = (pixels / (MOST_16 / 255) + 0.5).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return import_pillow("Image").fromarray(np.ascontiguousarray(pixels))


def _to_8_bits(image: Any, pillow: Any) -> Any:
    """Returns an image of 16 bits as one of 8, and others as they are."""
    if not image.mode.startswith(("I", "F")):
        return image
    numbers = np.asarray(image)
    if image.mode == "F" or numbers.min() < 0 or numbers.max() > MOST_16:
        raise BadImageError("has numbers that are neither of 8 nor of 16 bits")
    grey = pillow.fromarray((numbers / (MOST_16 / 255) + 0.5).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        alpha = np.where(numbers == clear, 0, 255).astype(np.uint8)
        grey.putalpha(pillow.fromarray(alpha))
    return grey


def _without_alpha(image: Any, pillow: Any) -> Any:
    """Returns an image on white, where it is transparent; palettes become colours."""
    has_alpha = "A" in image.getbands() or "a" in image.getbands()
    if has_alpha or "transparency" in image.info:
        image = image.convert("RGBA")
        white = pillow.new("RGBA", image.size, (WHITE,) * 4)
        return pillow.alpha_composite(white, image).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _resize(image: Any, size: tuple[int, int], how: str) -> Any:
    """Returns an image ``(width, height)`` of another size."""
    if how == "same":
        raise BadImageError(
            f"has {image.width} x {image.height} pixels, and the first image has "
            f"{size[0]} x {size[1]}; config.data.image_size scales all to one size"
        )
    operations = import_pillow("ImageOps")
    filter = import_pillow("Image").Resampling.BICUBIC
    if how == "stretch":
        return image.resize(size, filter)
    if how == "crop":
        return operations.fit(image, size, filter)
    white = WHITE if image.mode == "L" else (WHITE,) * 3
    return operations.pad(image, size, filter, color=white)
