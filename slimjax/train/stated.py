"""What a config states of a model that another folder describes.

With ``config.model.init_from`` shape, style, tokenizer and the size and scale of images
are those of that folder, which is read when the run begins. Until then what the config
states of them is kept apart: defaults must not be taken for statements.
"""

from collections.abc import Mapping
from typing import Any

from slimjax.data.config import TOKENIZING
from slimjax.data.image_config import SHAPING

INIT_FROM = "init_from"


def set_aside(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Returns a config without what the folder of ``model.init_from`` decides.

    Returns:
        The config, and what it states of that, by dotted name; nothing without such a
        folder.

    Examples:
        >>> config = {"model": {"init_from": "runs/a", "width": 8}, "seed": 1}
        >>> set_aside(config)[1]
        {'model.width': 8}
    """
    model, data = config.get("model", {}), config.get("data", {})
    are_blocks = isinstance(model, Mapping) and isinstance(data, Mapping)
    if not are_blocks or not model.get(INIT_FROM):
        return config, {}
    stated = {f"model.{key}": v for key, v in model.items() if key != INIT_FROM}
    known = (*TOKENIZING, *SHAPING)  # Those of images stay in the config as well.
    stated |= {f"data.{key}": data[key] for key in known if key in data}
    rest = {key: value for key, value in data.items() if key not in TOKENIZING}
    return {**config, "model": {INIT_FROM: model[INIT_FROM]}, "data": rest}, stated
