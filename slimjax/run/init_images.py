"""Size and scale of images in a run that starts from another run's weights."""

from collections.abc import Mapping
from typing import Any

from slimjax.data.config import DataConfig
from slimjax.data.image_config import SHAPING, plain_normalize
from slimjax.data.image_table import ImageShape
from slimjax.errors import ConfigError
from slimjax.text.files import show
from slimjax.train.config import RunConfig


def settings_of(shape: ImageShape) -> dict[str, Any]:
    """Returns the settings of ``config.data`` that give images of this shape.

    How images are fitted means nothing where all have one size already.
    """
    fit, scale = shape.fit, {"normalize": shape.normalize or ()}
    if fit.how == "same":
        return {"image_size": 0, "channels": fit.channels, **scale}
    size = {"image_size": (fit.height, fit.width), "image_fit": fit.how}
    return {**size, "channels": fit.channels, **scale}


def settings_in(block: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those settings as the block ``data`` of a run's own config has them."""
    default = DataConfig()
    found = {name: block.get(name, getattr(default, name)) for name in SHAPING}
    return {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}


def check_images(run: RunConfig, known: Mapping[str, Any], source: str) -> None:
    """Refuses stated settings of images that are not those of the folder.

    Args:
        run: The config.
        known: The settings of the folder.
        source: Names the folder, for the message.

    Raises:
        ConfigError: Naming the setting.
    """
    for name, kept in known.items():
        value = getattr(run.data, name)
        if f"data.{name}" in run.stated and _plain(name, value) != _plain(name, kept):
            raise ConfigError(
                f"config.data.{name}={show(value)}, but the images of {source} have "
                f"{show(kept)}. Leave the setting out, or start from fresh weights."
            )


def _plain(name: str, value: Any) -> Any:
    """Returns a value as it is compared."""
    if name == "image_size":
        return (value, value) if isinstance(value, int) else tuple(value)
    return plain_normalize(value) if name == "normalize" else value
