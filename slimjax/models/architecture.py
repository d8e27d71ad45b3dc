"""Shapes as plain data: ``architecture.json``, and a whole model.

A model of one tower with layers is a list of these; each entry tells the width, too:

    [{"width": 64, "num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "mlp_dim": 100,
      "attention": true, "mlp": true}, ...]

Of other models it is an object, with such a list for each tower:

    {"towers": {"encoder": {"width": 64, "layers": [...]}, "": {"width": 48, ...}}}

A tower that reads pictures by a convolution also tells the filters of each stage, under
``filters``.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimjax.errors import ConfigError
from slimjax.models.layer_config import LayerConfig
from slimjax.models.paths import Path as PathNames
from slimjax.models.paths import layer_of
from slimjax.models.tower_config import TowerConfig
from slimjax.nn.axes import is_filters

BESIDE = ("width", "bits")
"""What a layer's entry may tell beside its shape."""


UNIT_AXES = ("heads", "kv_heads", "mlp", "state")
"""Axes of units in layers that have bits."""


def describe(
    towers: tuple[TowerConfig, ...], bits: Mapping[PathNames, Any] | None = None
) -> Any:
    """Returns widths and layers as plain data, the content of ``architecture.json``.

    Args:
        towers: The towers.
        bits: Bits of units, by bit key, that stand beside the layers; None for none.
    """
    if len(towers) == 1 and towers[0].layers and not _filters(towers[0]):
        return _describe_layers(towers[0], bits)
    return {"towers": {tower.name: _describe_tower(tower, bits) for tower in towers}}


def _describe_tower(
    tower: TowerConfig, bits: Mapping[PathNames, Any] | None
) -> dict[str, Any]:
    entry: dict[str, Any] = {"width": tower.width}
    if _filters(tower):
        entry["filters"] = _filters(tower)
        own = {k: b.tolist() for k, b in (bits or {}).items() if is_filters(k[-1])}
        own = {k[-1]: b for k, b in own.items() if k[:-2] == _root(tower)}
        entry |= {"bits": own} if own else {}
    return {**entry, "layers": _describe_layers(tower, bits)}


def _root(tower: TowerConfig) -> PathNames:
    return (tower.name,) if tower.name else ()


def _filters(tower: TowerConfig) -> list[int]:
    """Returns the filters of each stage; an empty list without a convolution."""
    stages = tower.picture.stages if tower.picture else ()
    return [stage.filters for stage in stages]


def layers_of(entries: Any) -> dict[str, list[dict[str, Any]]]:
    """Returns the entries of layers by tower, of what `describe` returned.

    Examples:
        >>> layers_of([{"width": 8}])
        {'': [{'width': 8}]}
    """
    if isinstance(entries, list):
        return {"": entries}
    return {name: tower["layers"] for name, tower in entries["towers"].items()}


def _describe_layers(
    tower: TowerConfig, bits: Mapping[PathNames, Any] | None
) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {"width": tower.width, **layer.as_json()} for layer in tower.layers
    ]
    if bits is None:
        return entries
    for entry in entries:
        entry["bits"] = {}
    for key, own in bits.items():
        name, number, rest = layer_of(key)
        if number is not None and name == tower.name and rest[-1] in UNIT_AXES:
            is_usual = len(rest) == 2 and rest[0] in ("attention", "mlp", "recurrent")
            label = rest[-1] if is_usual else ".".join(rest)
            entries[number]["bits"][label] = own.tolist()
    return entries


def apply_architecture(
    towers: tuple[TowerConfig, ...], entries: Any, where: str
) -> tuple[TowerConfig, ...]:
    """Returns towers with widths and layers from plain data.

    Raises:
        ConfigError: If the data, found at the place `where`, are not an architecture of
            these towers.
    """
    if isinstance(entries, list) and len(towers) == 1:
        entries = {"towers": {towers[0].name: {"layers": entries}}}
    found = entries.get("towers") if isinstance(entries, Mapping) else None
    names = sorted(tower.name for tower in towers)
    if not isinstance(found, Mapping) or sorted(found) != names:
        raise ConfigError(
            f"{where} must hold a list of one layer or more, or an object with the "
            f"towers {names}."
        )
    return tuple(_apply_to_tower(tower, found[tower.name], where) for tower in towers)


def _apply_to_tower(tower: TowerConfig, entry: Any, where: str) -> TowerConfig:
    where = f"{where}: tower {tower.name!r}" if tower.name else where
    entries = entry.get("layers") if isinstance(entry, Mapping) else None
    rotary = tower.style.positions == "rotary"
    layers = ()
    if entries or tower.layers:
        layers = parse_architecture(entries, where, rotary=rotary)
    told = entry.get("width", tower.width) if isinstance(entry, Mapping) else None
    widths = {layer.get("width", told) for layer in entries or ()} or {told}
    if len(widths) > 1 or not all(type(w) is int and w > 0 for w in widths):
        raise ConfigError(f"{where}: layers must have one width, 1 or more.")
    tower = _apply_filters(tower, entry, where)
    return dataclasses.replace(tower, width=widths.pop(), layers=layers)


def _apply_filters(tower: TowerConfig, entry: Any, where: str) -> TowerConfig:
    """Returns a tower with the filters of each stage that an entry has, if any."""
    if tower.picture is None or "filters" not in entry:
        return tower
    told, stages = entry["filters"], tower.picture.stages
    are_counts = isinstance(told, list) and all(type(n) is int and n > 0 for n in told)
    if not are_counts or len(told) != len(stages):
        raise ConfigError(
            f"{where}: filters={told!r} must be a list of {len(stages)} numbers of 1 "
            "or more."
        )
    pairs = zip(stages, told, strict=True)
    new = tuple(dataclasses.replace(stage, filters=n) for stage, n in pairs)
    picture = dataclasses.replace(tower.picture, stages=new)
    return dataclasses.replace(tower, picture=picture)


def parse_architecture(
    entries: Any, where: str, *, rotary: bool = True
) -> tuple[LayerConfig, ...]:
    """Returns layers from a list of plain data.

    Bits of their units may stand there too, and are no part of a shape; nor is the
    width.

    Args:
        entries: The list.
        where: Where it was found.
        rotary: Whether positions turn pairs of channels of heads.

    Raises:
        ConfigError: If an entry is not a layer; names the place and the entry.
    """
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{where} must hold a list of one layer or more.")
    known = {field.name for field in dataclasses.fields(LayerConfig)}
    layers = []
    for i, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not set(entry) <= {*known, *BESIDE}:
            raise ConfigError(
                f"{where}[{i}] is not a layer. Known keys: {sorted(known)}."
            )
        own = {key: value for key, value in entry.items() if key in known}
        try:
            layer = LayerConfig.from_json(own)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}[{i}] is not a whole layer: {error}.") from error
        layer.check(f"{where}[{i}]", rotary=rotary)
        layers.append(layer)
    return tuple(layers)


def read_architecture(path: str | Path, name: str = "config.model.architecture") -> Any:
    """Returns what an ``architecture.json`` holds, not yet checked.

    Args:
        path: The file.
        name: The setting that names it.

    Raises:
        ConfigError: If the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name}={str(path)!r} cannot be read: {error}.") from error
