"""Refuses settings of ``config.model`` with which no picture can be read."""

from typing import Any

from slimjax.errors import ConfigError, suggest
from slimjax.nn.implementations import ACTIVATIONS, IMAGE_NORMS, IMAGE_POOLS

INPUTS = ("both", "image", "text")
FUSING = ("fusion", "encoder_decoder")
"""Kinds of models that may read pictures and texts."""

MOST_STAGES = 16
MOST = {"filters": 1 << 16, "kernels": 64, "strides": 64, "pools": 64}
"""Largest number of each setting of stages."""


def check_image_settings(settings: Any) -> None:
    """Raises `ConfigError` if no convolution and no patches have these settings."""
    num_stages = len(settings.filters)
    if not 1 <= num_stages <= MOST_STAGES:
        raise ConfigError(
            f"config.model.filters={list(settings.filters)} must have 1 to "
            f"{MOST_STAGES} stages."
        )
    for name, most in MOST.items():
        values = getattr(settings, name)
        where = f"config.model.{name}={list(values)}"
        if len(values) not in (1, num_stages):
            raise ConfigError(
                f"{where} must have one number, or {num_stages}, one for each stage of "
                "config.model.filters."
            )
        if not all(1 <= value <= most for value in values):
            raise ConfigError(f"{where} must be 1 to {most}.")
    if not 1 <= settings.patch_size <= 1 << 12:
        raise ConfigError(
            f"config.model.patch_size={settings.patch_size} must be 1 to {1 << 12}."
        )
    if settings.inputs != "both" and settings.kind not in FUSING:
        raise ConfigError(
            f"config.model.inputs={settings.inputs!r} is for config.model.kind="
            f"{' or '.join(map(repr, FUSING))}."
        )
    if settings.copies and settings.reads_images:
        raise ConfigError(
            "config.model.copies=True copies tokens of a source, and this model reads "
            "pictures. Set config.model.copies=False."
        )
    choices = dict(inputs=INPUTS, image_norm=IMAGE_NORMS, image_pool=IMAGE_POOLS)
    choices |= dict(image_activation=ACTIVATIONS)
    for name, known in choices.items():
        value = getattr(settings, name)
        if value not in known:
            raise ConfigError(
                f"config.model.{name}={value!r} is unknown. {suggest(value, known)}"
            )
