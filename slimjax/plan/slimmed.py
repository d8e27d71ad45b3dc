"""The uniform shape that a model has after a cut to a part of its size."""

import dataclasses
import re

import numpy as np

from slimjax.budget.units import Gates
from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.models.config import ModelConfig
from slimjax.models.layer_config import LayerConfig
from slimjax.objective.inventory import Inventory
from slimjax.train.blueprint import Blueprint


def parse_part(text: str) -> float:
    """Returns the part that is to stay, of a percentage such as ``50%``.

    Raises:
        ConfigError: If it is none between 0 and 100 %.

    Examples:
        >>> parse_part("50%")
        0.5
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    if not found or not 0 < float(found[1]) < 100:
        raise ConfigError(f"--after={text} must be a part of the start, such as 50%.")
    return float(found[1]) / 100


def slim_uniformly(
    blueprint: Blueprint, part: float
) -> tuple[ModelConfig, dict[str, float]]:
    """Returns a shape within a part of the start's size, and the sizes it should have.

    All layers of all towers lose KV heads, with their query heads, and hidden units, in
    as even a ratio as the multiples of ``config.resize`` allow. Layers that differ keep
    at most the same number. Sizes are predicted by the one walk over the whole model,
    with the gates of what goes closed.

    Args:
        blueprint: The model before the cut.
        part: The part of the first measure of ``config.objective`` that may stay.

    Raises:
        NotFeasibleError: If no such shape is small enough.
    """
    run, (most_heads, most_width) = blueprint.run, _largest_shape(blueprint.model)
    measure = run.objective.measures[0]
    size_fn, limit = blueprint.size_fn(measure), part * blueprint.sizes[measure]
    limits = run.resize
    best, least = None, np.inf
    heads = _multiples(most_heads, limits.kv_heads_multiple)
    widths = _multiples(most_width, limits.multiple)
    for kv_heads in heads:
        fits = lambda width, k=kv_heads: (
            float(size_fn(close(blueprint.inventory, k, width), blueprint.bits))
            <= limit
        )
        width = _largest(widths, fits)
        if width is None:
            continue
        uneven = abs(_part(kv_heads, most_heads) - _part(width, most_width))
        if uneven < least:
            best, least = (kv_heads, width), uneven
    if best is None:
        raise NotFeasibleError(
            f"--after={part:.0%}: no uniform shape has so little {measure}, with "
            f"config.resize.multiple={limits.multiple} and "
            f"config.resize.kv_heads_multiple={limits.kv_heads_multiple}. Ask for more."
        )
    gates = close(blueprint.inventory, *best)
    predicted = {
        m: float(blueprint.size_fn(m)(gates, blueprint.bits)) for m in blueprint.sizes
    }
    return _with_shape(blueprint.model, *best), predicted


def close(inventory: Inventory, num_kv_heads: int, mlp_dim: int) -> Gates:
    """Returns gates by which each layer keeps its first KV heads and hidden units."""
    kept: dict[tuple[str, ...], int] = {("mlp", "mlp"): mlp_dim}
    kept |= {(name, "kv_heads"): num_kv_heads for name in ("attention", "cross")}
    gates = inventory.open_gates()
    for path, gate in gates.items():
        if path[-2:] in kept:
            gate[kept[path[-2:]] :] = 0.0
    return gates


def _with_shape(model: ModelConfig, num_kv_heads: int, mlp_dim: int) -> ModelConfig:
    def slim(layer: LayerConfig) -> LayerConfig:
        own = _cut_heads(layer.num_heads, layer.num_kv_heads, num_kv_heads)
        cross = _cut_heads(layer.cross_heads, layer.cross_kv_heads, num_kv_heads)
        changes = dict(zip(("num_heads", "num_kv_heads"), own, strict=True))
        changes |= dict(zip(("cross_heads", "cross_kv_heads"), cross, strict=True))
        changes |= dict(mlp_dim=min(layer.mlp_dim, mlp_dim))
        return dataclasses.replace(layer, **changes)

    towers = tuple(
        dataclasses.replace(tower, layers=tuple(map(slim, tower.layers)))
        for tower in model.towers
    )
    return dataclasses.replace(model, towers=towers)


def _cut_heads(num_heads: int, num_kv_heads: int, most: int) -> tuple[int, int]:
    kept = min(num_kv_heads, most)
    return num_heads // max(num_kv_heads, 1) * kept, kept


def _largest_shape(model: ModelConfig) -> tuple[int, int]:
    """Returns the KV heads and hidden units of the largest layers of all towers."""
    layers = [layer for tower in model.towers for layer in tower.layers]
    heads = [y.num_kv_heads for y in layers if y.attention]
    heads += [y.cross_kv_heads for y in layers]
    return max(heads, default=0), max((y.mlp_dim for y in layers if y.mlp), default=0)


def _multiples(most: int, step: int) -> list[int]:
    """Returns what may be kept; nothing of nothing."""
    return list(range(step, most + 1, step)) if most else [0]


def _part(kept: int, most: int) -> float:
    return kept / most if most else 1.0


def _largest(sizes: list[int], fits) -> int | None:
    """Returns the largest size that fits, where all smaller ones fit too."""
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if fits(sizes[middle]) else (low, middle)
    return sizes[low - 1] if low else None
