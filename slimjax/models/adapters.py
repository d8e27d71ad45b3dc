"""Adapters: small MLPs of one domain each, behind the sublayers of a shared trunk.

    x <- x + down_d(gelu(up_d(norm(x))))       for rows of domain d

``down`` starts at zero, so that a model starts as its trunk, exactly. An adapter is a
sublayer with gates of its own: it has a price, and is removed where it is not worth it.
A row without a domain passes through the trunk alone.

References:
    Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", 2019, section 2.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from slimjax.data.outline import DOMAIN as DOMAIN
from slimjax.errors import ConfigError, suggest
from slimjax.models.architecture import layers_of
from slimjax.models.layer_config import LayerConfig
from slimjax.models.tower_config import TowerConfig

MOST_WIDTH = 1 << 16
SUBLAYERS = ("attention", "recurrent", "cross", "mlp")
"""What an adapter may stand behind."""


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


def is_adapter(name: str) -> bool:
    """Returns whether a module is an adapter.

    Examples:
        >>> is_adapter("mlp_adapter_movie"), is_adapter("mlp")
        (True, False)
    """
    return name.startswith(tuple(adapter_name(part, "") for part in SUBLAYERS))


def count_adapters(entries: Any, domains: Iterable[str]) -> dict[str, dict[str, int]]:
    """Returns the sublayers and the hidden units of each domain's adapters.

    Args:
        entries: What `slimjax.models.architecture.describe` returns.
        domains: Names of the domains.

    Examples:
        >>> entries = [{"adapters": [["mlp_adapter_movie", 16]]}]
        >>> count_adapters(entries, ["movie", "shop"])["movie"]
        {'sublayers': 1, 'units': 16}
    """
    layers = [layer for own in layers_of(entries).values() for layer in own]
    widths = [pair for layer in layers for pair in layer.get("adapters", [])]
    counts = {}
    for domain in domains:
        names = [adapter_name(part, domain) for part in SUBLAYERS]
        own = [width for name, width in widths if name in names]
        counts[domain] = {"sublayers": len(own), "units": sum(own)}
    return counts


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
    own = [name for name in SUBLAYERS if getattr(layer, name)]
    names = [adapter_name(name, domain) for name in own for domain in domains]
    return dataclasses.replace(layer, adapters=tuple((name, width) for name in names))
