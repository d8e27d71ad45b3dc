"""The shape that weights have, as after a cut."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxtyping import PyTree

from slimjax.models.layer_config import LayerConfig
from slimjax.models.paths import layer_name
from slimjax.models.tower_config import TowerConfig
from slimjax.nn.pictures import Picture


def reshape_tower(
    tower: TowerConfig, params: Mapping[str, Any], table: Any
) -> TowerConfig:
    """Returns a tower with the width and the layers that weights have.

    Args:
        tower: The shape before; its layers tell what a removed sublayer was.
        params: Weights of the tower, or their shapes, by name.
        table: The table of tokens that it reads; None if it reads none.

    Returns:
        The tower; its width stays as it was where all that it reads has its own axis.
    """
    layers = tuple(
        _reshape_layer(layer, params.get(layer_name(i), {}))
        for i, layer in enumerate(tower.layers)
    )
    changes: dict[str, Any] = dict(layers=layers)
    if tower.picture is not None:
        changes["picture"] = _reshape_picture(tower.picture, params[tower.stem])
    if table is None:
        table = _widest(tower, params.get(tower.stem, {}))
    if table is not None:
        changes["width"] = table.shape[-1]
    return dataclasses.replace(tower, **changes)


def _widest(tower: TowerConfig, own: Mapping[str, Any]) -> Any:
    """Returns a weight that writes the stream; None where all comes from elsewhere."""
    names = (*tower.of, "out", "kernel")
    return next((own[name] for name in names if name in own), None)


def _reshape_picture(picture: Picture, params: Mapping[str, Any]) -> Picture:
    stages = (
        dataclasses.replace(stage, filters=params[f"kernel_{number}"].shape[-1])
        for number, stage in enumerate(picture.stages)
    )
    return dataclasses.replace(picture, stages=tuple(stages))


def _reshape_layer(layer: LayerConfig, parts: Mapping[str, PyTree]) -> LayerConfig:
    changes: dict[str, Any] = {name: name in parts for name in ("attention", "mlp")}
    num_heads, num_kv_heads, head_dim = _heads(parts.get("attention"))
    changes |= dict(num_heads=num_heads, num_kv_heads=num_kv_heads)
    cross_heads, cross_kv_heads, cross_dim = _heads(parts.get("cross"))
    changes |= dict(cross_heads=cross_heads, cross_kv_heads=cross_kv_heads)
    changes |= dict(head_dim=head_dim or cross_dim or layer.head_dim)
    kept = (name for name, _ in layer.adapters if name in parts)
    changes["adapters"] = tuple((n, parts[n]["down"].shape[0]) for n in kept)
    own = parts.get("recurrent")
    changes["state_dim"] = 0 if own is None else own["carrying"].shape[0]
    changes["mlp_dim"] = parts["mlp"]["down"].shape[0] if changes["mlp"] else 0
    return dataclasses.replace(layer, **changes)


def _heads(parts: Mapping[str, Any] | None) -> tuple[int, int, int]:
    """Returns query heads, KV heads and their width; zeros where there are none."""
    if parts is None:
        return 0, 0, 0
    _, num_heads, head_dim = parts["query"].shape
    return num_heads, parts["key"].shape[1], head_dim
