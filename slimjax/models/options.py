"""What functions that make models have in common: their options, and a usual head."""

import dataclasses
from typing import Any

from slimjax.models.head import HeadConfig
from slimjax.models.style import Style
from slimjax.models.tower_config import Compute

COMPUTE = tuple(field.name for field in dataclasses.fields(Compute))


def next_token(vocab_size: int, style: Style) -> tuple[HeadConfig, ...]:
    """Returns the head of a language model."""
    table = "tied" if style.tied else "own"
    return (HeadConfig("tokens", vocab_size, table=table),)


def split_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns options of the model, and those of towers."""
    compute = {name: value for name, value in options.items() if name in COMPUTE}
    return compute, {k: v for k, v in options.items() if k not in COMPUTE}
