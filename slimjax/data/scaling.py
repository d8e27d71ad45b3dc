"""How stored numbers become what a model reads; kept as ``features.json``."""

import dataclasses
import json
import os
from typing import Any

import numpy as np

from slimjax.data.cache import hash_json
from slimjax.data.stored import load_stored
from slimjax.errors import ConfigError

FEATURES_FILE = "features.json"


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Features of one size, and a map ``x -> scale * x + shift``.

    Attributes:
        size: Numbers an example, F.
        scale: What numbers are multiplied by.
        shift: What is added then.
    """

    size: int
    scale: float = 1.0
    shift: float = 0.0

    @property
    def fingerprint(self) -> str:
        """Equal for equal maps."""
        return hash_json(dataclasses.astuple(self))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``features.json`` into `folder`, which exists."""
        with open(os.path.join(folder, FEATURES_FILE), "w", encoding="utf-8") as file:
            json.dump({"version": 1, **dataclasses.asdict(self)}, file, indent=1)


def choose_scaling(
    train: list[np.ndarray], normalize: tuple[float, ...]
) -> tuple[Scaling, str]:
    """Returns how features are scaled, and a note for the user, or "".

    Bytes of images are divided by 255. So are whole numbers from 0 to 255 of other
    files, if `normalize` has a mean and a deviation of at most 1.

    Args:
        train: The features of each example of the train split.
        normalize: Mean and standard deviation, or ``()``.

    Raises:
        ConfigError: If `normalize` is of channels.

    Examples:
        >>> images = [np.array([0, 255], np.uint8)]
        >>> choose_scaling(images, (0.5, 0.5))
        (Scaling(size=2, scale=0.00784313725490196, shift=-1.0), '')
    """
    if len(normalize) > 2:
        raise ConfigError(
            f"config.data.normalize={list(normalize)} is for channels of images; "
            "features have none. Set [mean, deviation]."
        )
    mean, deviation = list(normalize) or [0.0, 1.0]
    is_image = train[0].dtype == np.uint8
    is_meant = bool(normalize) and abs(mean) <= 1 and deviation <= 1
    looks_like_image = (
        not is_image
        and is_meant
        and all(fits_bytes(values) for values in train)
        and max(values.max() for values in train) > 127
    )
    scale = (1 / 255 if is_image or looks_like_image else 1.0) / deviation
    note = ""
    if looks_like_image:
        note = "Features are whole numbers from 0 to 255: they are divided by 255."
    return Scaling(len(train[0]), scale, -mean / deviation), note


def fits_bytes(values: np.ndarray) -> bool:
    """Returns whether all numbers are whole and from 0 to 255."""
    if values.dtype == np.uint8:
        return True
    fits = (values >= 0) & (values <= 255) & (values == np.floor(values))
    return bool(fits.all())


def load_scaling(folder: str | os.PathLike[str]) -> Scaling:
    """Loads what `Scaling.save` wrote into `folder`.

    Raises:
        DataError: If there is no such file, or a damaged one.
    """

    def make(content: Any) -> Scaling:
        scale, shift = float(content["scale"]), float(content["shift"])
        return Scaling(int(content["size"]), scale, shift)

    return load_stored(folder, FEATURES_FILE, make)
