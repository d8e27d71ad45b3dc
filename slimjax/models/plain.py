"""A whole model as plain data, for files that hold weights beside their shape.

A decoder of the first version's kind has the fields that it had then, so that old files
can be read and digests stay what they were. Any other model has its towers and heads.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from slimjax.errors import ConfigError
from slimjax.models.config import ModelConfig
from slimjax.models.head import HeadConfig
from slimjax.models.layer_config import LayerConfig
from slimjax.models.recipes import decoder
from slimjax.models.style import Style
from slimjax.models.tower_config import TowerConfig
from slimjax.nn.positions import RopeScaling

TOWER = ("embed_scale", "rope_base")
COMPUTE = ("dtype", "attention_impl", "remat", "scan_layers")

_TOWER_FIELDS = ("rope_scaling", "position_offset", "attention_scale", "buckets")
_TOWER_FIELDS += ("picture", "of", "domains")
_HEAD_FIELDS = ("pooler_activation", "transform", "epsilon", "scale")


def _defaults(kind: type, names: tuple[str, ...]) -> dict[str, Any]:
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    return {name: fields[name] for name in names}


LATER_OF_TOWERS = _defaults(TowerConfig, _TOWER_FIELDS)
LATER_OF_LAYERS = _defaults(LayerConfig, ("adapters",))
LATER_OF_HEADS = _defaults(HeadConfig, _HEAD_FIELDS)
"""Fields that the first files did not have, with what stands for nothing.

They are left out where they say nothing, so that digests stay what they were.
"""


def as_json(model: ModelConfig) -> dict[str, Any]:
    """Returns a model as plain data.

    Examples:
        >>> model = decoder(100, 8, (LayerConfig(2, 1, 4, 16),))
        >>> from_json(as_json(model), "here") == model
        True
    """
    main = model.main
    options = {name: getattr(main, name) for name in TOWER}
    options |= {name: getattr(model, name) for name in COMPUTE}
    shape = dict(vocab_size=main.num_inputs, width=main.width)
    if model == decoder(main.num_inputs, main.width, main.layers, **options):
        layers = [layer.as_json() for layer in main.layers]
        return {**shape, "layers": layers, **options}
    plain = dataclasses.asdict(model)
    for kind, later in (("towers", LATER_OF_TOWERS), ("heads", LATER_OF_HEADS)):
        plain[kind] = [_without(entry, later) for entry in plain[kind]]
    for tower in plain["towers"]:
        tower["layers"] = [_without(own, LATER_OF_LAYERS) for own in tower["layers"]]
    if not model.adapter_skip:
        del plain["adapter_skip"]
    return plain


def _without(entry: dict[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an entry without those of the later fields that say nothing."""
    return {k: v for k, v in entry.items() if k not in later or v != later[k]}


def from_json(data: Any, where: str) -> ModelConfig:
    """Returns the model that `as_json` wrote.

    Raises:
        ConfigError: If the data, found at the place `where`, are not a model.
    """
    try:
        if "towers" not in data:
            return _decoder(data)
        towers = tuple(map(_tower, data["towers"]))
        heads = tuple(map(_head, data["heads"]))
        return ModelConfig(**{**data, "towers": towers, "heads": heads})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{where} does not describe a model: {error!r}.") from error


def _decoder(data: Mapping[str, Any]) -> ModelConfig:
    layers = tuple(LayerConfig.from_json(layer) for layer in data["layers"])
    return decoder(**{**data, "layers": layers})


def _head(data: Mapping[str, Any]) -> HeadConfig:
    return HeadConfig(**{**data, "weights": tuple(data.get("weights", ()))})


def _tower(data: Mapping[str, Any]) -> TowerConfig:
    fields = {**data, "style": Style(**data["style"])}
    fields["layers"] = tuple(LayerConfig.from_json(layer) for layer in data["layers"])
    if data.get("rope_scaling") is not None:
        fields["rope_scaling"] = RopeScaling(**data["rope_scaling"])
    lists = ("buckets", "domains", "of")
    fields |= {name: tuple(data[name]) for name in lists if name in data}
    return TowerConfig(**fields)
