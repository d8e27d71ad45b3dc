"""Variables of a model: fresh ones, and their shapes alone."""

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from slimjax.models.head import HeadConfig
from slimjax.models.network import Network
from slimjax.models.paths import layer_name, layer_of
from slimjax.models.tower_config import Compute, TowerConfig

MOST_KEPT = 32
"""Models whose shapes are kept."""


def abstract_inputs(towers: tuple[TowerConfig, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shapes of inputs with which variables can be made."""
    shapes = {}
    for tower in (tower for tower in towers if not tower.of):
        if tower.picture is not None:
            picture = tower.picture
            shape = 1, picture.height, picture.width, picture.colors
            shapes[tower.reads] = jax.ShapeDtypeStruct(shape, jnp.uint8)
            continue
        is_table = tower.stem != "features"
        shape = (1, 2) if is_table else (1, tower.num_inputs)
        dtype = jnp.int32 if is_table else jnp.float32
        shapes[tower.reads] = jax.ShapeDtypeStruct(shape, dtype)
        if tower.stem == "characters":
            shape = (1, 2, tower.token_bytes)
            shapes[f"{tower.reads}_bytes"] = jax.ShapeDtypeStruct(shape, dtype)
    return shapes


def init_variables(
    towers: tuple[TowerConfig, ...],
    heads: tuple[HeadConfig, ...],
    compute: Compute,
    key: Array,
) -> PyTree:
    """Returns fresh weights and open gates, boxed with the names of their axes."""
    zeros = lambda shape: jnp.zeros(shape.shape, shape.dtype)
    inputs = jax.tree.map(zeros, abstract_inputs(towers))
    return Network(towers, heads, compute).init(key, inputs)


def abstract_variables(
    towers: tuple[TowerConfig, ...], heads: tuple[HeadConfig, ...], compute: Compute
) -> PyTree:
    """Returns the shapes of weights and gates, boxed with the names of their axes.

    Each shape of a layer is traced once, and the last models are kept: a run asks for
    the same ones again and again.
    """
    kinds = {tower.name: tuple(dict.fromkeys(tower.layers)) for tower in towers}
    few = tuple(dataclasses.replace(t, layers=kinds[t.name]) for t in towers)
    found = jax.tree.map(lambda leaf: leaf, _trace(few, heads, compute))  # A copy.

    def spread(tree: Mapping[str, Any]) -> dict[str, Any]:
        for tower in towers:
            own = tree.get(tower.name, {}) if tower.name else tree
            own = _spread_layers(tower, kinds[tower.name], own)
            tree = {**tree, tower.name: own} if tower.name else own
        return {name: part for name, part in tree.items() if part}

    return {kind: spread(tree) for kind, tree in found.items()}


@lru_cache(maxsize=MOST_KEPT)
def _trace(
    towers: tuple[TowerConfig, ...], heads: tuple[HeadConfig, ...], compute: Compute
) -> PyTree:
    """Returns shapes, boxed with names; shared, hence not to be changed."""
    model = Network(towers, heads, compute)
    return jax.eval_shape(model.init, jax.random.key(0), abstract_inputs(towers))


def _spread_layers(
    tower: TowerConfig, kinds: tuple, tree: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns a tower's variables with those of a kind of layer for each such layer."""
    spread = {k: v for k, v in tree.items() if layer_of((k,)).number is None}
    for number, layer in enumerate(tower.layers):
        own = tree.get(layer_name(kinds.index(layer)))
        if own is not None:
            spread[layer_name(number)] = jax.tree.map(lambda leaf: leaf, own)
    return spread
