"""Adapters: small MLPs of one domain each, behind the sublayers of a shared trunk.

    x <- x + down_d(gelu(up_d(norm(x))))       for rows of domain d

``down`` starts at zero, so that a model starts as its trunk, exactly. An adapter is a
sublayer with gates of its own: it has a price, and is removed where it is not worth it.
A row without a domain passes through the trunk alone.

References:
    Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", 2019, section 2.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from slimjax.errors import ConfigError, suggest
from slimjax.models.layer_config import LayerConfig
from slimjax.models.tower_config import TowerConfig

DOMAIN = "domain"
"""The input that has the number of each row's domain."""


MOST_WIDTH = 1 << 16


def check_adapters(adapters: Mapping[str, Any]) -> None:
    """Raises `ConfigError` if ``config.model.adapters`` describes none."""
    where = "config.model.adapters"
    for name in adapters:
        if name not in ("width", "skip"):
            hint = suggest(name, ("width", "skip"))
            raise ConfigError(f"{where}: {name!r} is unknown. {hint}")
    width, skip = adapters.get("width", 1), adapters.get("skip", 0.0)
    if type(width) is not int or not 1 <= width <= MOST_WIDTH:
        raise ConfigError(f"{where}: width={width!r} must be 1 to {MOST_WIDTH}.")
    if adapters and "width" not in adapters:
        raise ConfigError(f"{where} must have a width, such as 16.")
    if not isinstance(skip, int | float) or not 0 <= skip < 1:
        raise ConfigError(f"{where}: skip={skip!r} must be 0 or more and below 1.")


def adapter_name(sublayer: str, domain: str) -> str:
    """Returns the name of an adapter's module.

    Examples:
        >>> adapter_name("mlp", "movie")
        'mlp_adapter_movie'
    """
    return f"{sublayer}_adapter_{domain}"


def add_adapters(
    tower: TowerConfig, domains: tuple[str, ...], width: int
) -> TowerConfig:
    """Returns a tower with an adapter for each domain behind each sublayer.

    Args:
        tower: The trunk.
        domains: Names of the domains, in the order of their numbers.
        width: Hidden units of an adapter.
    """
    layers = tuple(_add_to_layer(layer, domains, width) for layer in tower.layers)
    return dataclasses.replace(tower, layers=layers, domains=domains)


def _add_to_layer(
    layer: LayerConfig, domains: tuple[str, ...], width: int
) -> LayerConfig:
    sublayers = ("attention", "recurrent", "cross", "mlp")
    own = [name for name in sublayers if getattr(layer, name)]
    names = [adapter_name(name, domain) for name in own for domain in domains]
    return dataclasses.replace(layer, adapters=tuple((name, width) for name in names))
