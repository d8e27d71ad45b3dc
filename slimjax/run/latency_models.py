"""The models that are timed for a table of latencies.

A sublayer is never alone: among others its weights have left the cache when its turn
comes again, and what stands alone does not tell that. So whole models are timed, ragged
ones of all sizes; and stacks of one kind of sublayer, for what is small.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from slimjax.models.config import ModelConfig
from slimjax.models.layer_config import LayerConfig

NUM_RAGGED = 16
"""Ragged models that are timed at the whole width, and as many at others."""

LEAST = 8
"""Width and hidden units are timed down to one of so many parts."""

MOST_LAYERS, MOST_WEIGHTS = 8, 2**26
"""Layers and weights of a timed model; more would not tell more."""


def choose_models(model: ModelConfig, *, narrower: bool = False) -> list[ModelConfig]:
    """Returns the models to time: the largest first, then stacks, then ragged ones."""
    whole, source = _shallow(model), np.random.default_rng(0)
    largest = max(whole.layers, key=num_weights)
    widths = [model.width, -(-model.width // LEAST)] if narrower else [model.width]
    models = [whole]
    for width in widths:
        for layer in _alone(largest):
            layers = (layer,) * len(whole.layers)
            models.append(whole.with_main(width=width, layers=layers))
    shares = np.linspace(0.1, 1.0, NUM_RAGGED)
    models += [ragged_model(whole, share, source) for share in shares]
    if narrower:
        least = 1.0 / LEAST
        for share, part in zip(shares, source.permutation(NUM_RAGGED), strict=True):
            part = least + (1 - least) * part / NUM_RAGGED
            narrow = whole.with_main(width=round(part * model.width))
            models.append(ragged_model(narrow, share, source))
    return models


def ragged_model(
    model: ModelConfig, share: float, source: np.random.Generator
) -> ModelConfig:
    """Returns the model with about a share of its units, other ones in each layer."""

    def part_of(most: int) -> int:
        return round(most * np.clip(source.normal(share, 0.25), 0.0, 1.0))

    def slim(layer: LayerConfig) -> LayerConfig:
        num_groups, units = part_of(layer.num_kv_heads), part_of(layer.mlp_dim)
        most = layer.num_heads // max(layer.num_kv_heads, 1)
        group = int(source.integers(1, most + 1)) if num_groups else 0
        heads = dict(num_heads=num_groups * group, num_kv_heads=num_groups)
        has = dict(attention=num_groups > 0, mlp=units > 0)
        return replace(layer, mlp_dim=units, **heads, **has)

    return model.with_main(layers=tuple(map(slim, model.layers)))


def _alone(layer: LayerConfig) -> Iterator[LayerConfig]:
    """Yields an empty layer, then attention and MLP alone, whole and at their least."""
    yield replace(
        layer, attention=False, mlp=False, num_heads=0, num_kv_heads=0, mlp_dim=0
    )
    num_kv_heads, units = layer.num_kv_heads, layer.mlp_dim
    for num_groups in sorted({1, num_kv_heads} if layer.attention else ()):
        num_heads = num_groups * layer.num_heads // num_kv_heads
        heads = dict(num_heads=num_heads, num_kv_heads=num_groups)
        yield replace(layer, mlp=False, mlp_dim=0, **heads)
    for num_units in sorted({-(-units // LEAST), units} if layer.mlp else ()):
        gone = dict(attention=False, num_heads=0, num_kv_heads=0)
        yield replace(layer, mlp_dim=num_units, **gone)


def _shallow(model: ModelConfig) -> ModelConfig:
    """Returns the model with as many of its layers as are worth timing."""
    each = model.width * max(map(num_weights, model.layers), default=1)
    most = min(MOST_LAYERS, max(MOST_WEIGHTS // max(each, 1), 1))
    return model.with_main(layers=model.layers[:most])


def num_weights(layer: LayerConfig) -> int:
    """Returns the weights of a layer for each channel of the residual stream."""
    heads = 2 * (layer.num_heads + layer.num_kv_heads) * layer.head_dim
    return layer.attention * heads + layer.mlp * 3 * layer.mlp_dim
