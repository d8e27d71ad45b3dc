"""From the block ``config.model`` to models that read pictures."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from slimjax.models.build_options import compute_options, tower_options
from slimjax.models.config import ModelConfig
from slimjax.models.fusing import Layers, Parts, captioner, fusion, image_tower
from slimjax.models.settings import ModelSettings
from slimjax.nn.pictures import Picture

IMAGE = "image"
"""What a tower that reads pictures reads."""

IMAGE_SIZES = ("image_height", "image_width", "image_channels")
"""Names of the sizes of pictures, in the order of the axes of a batch."""

Sizes = Mapping[str, int]


def build_image_encoder(
    settings: ModelSettings, sizes: Sizes, heads: Any
) -> ModelConfig:
    """Returns a model of one tower, which reads pictures."""
    layers, picture = _layers(settings, settings.num_layers), _picture(settings, sizes)
    options = dict(epsilon=float(settings.norm_epsilon))
    options |= dict(attention_scale=float(settings.attention_scale))
    own = settings.width, layers, picture, settings.full_style, options
    return ModelConfig((image_tower("", *own),), heads, **compute_options(settings))


def build_fusion(
    settings: ModelSettings, sizes: Sizes, heads: Any, longest: int
) -> ModelConfig:
    """Returns a model that answers from a picture and a text, or from one of them."""
    has_text = settings.inputs != "image"
    return fusion(
        sizes["vocab"] if has_text else 0,
        _parts(settings),
        heads=heads,
        picture=_picture(settings, sizes) if settings.reads_images else None,
        style=settings.full_style,
        **tower_options(settings, longest if has_text else 0),
    )


def build_captioner(
    settings: ModelSettings, sizes: Sizes, heads: Any, longest: int, has_source: bool
) -> ModelConfig:
    """Returns a model that writes for a picture, and for a source if there is one."""
    layer = dataclasses.replace(settings.uniform_layer(), **cross_heads(settings))
    has_source = has_source and settings.inputs == "both"
    source = sizes.get("source_vocab", sizes["vocab"])
    return captioner(
        sizes["vocab"],
        settings.width,
        (layer,) * settings.num_layers,
        _parts(settings),
        picture=_picture(settings, sizes),
        source_vocab_size=source if has_source else 0,
        heads=heads,
        style=settings.full_style,
        **tower_options(settings, longest),
    )


def cross_heads(settings: ModelSettings) -> dict[str, int]:
    """Returns the heads of attention to another tower."""
    groups = settings.num_kv_heads or settings.num_heads
    return dict(cross_heads=settings.num_heads, cross_kv_heads=groups)


def _parts(settings: ModelSettings) -> Parts:
    layer, width = settings.uniform_layer(), settings.width
    none = dict(attention=False, num_heads=0, num_kv_heads=0)
    across = dataclasses.replace(layer, **none, **cross_heads(settings))
    is_fusion = settings.kind == "fusion"
    own = settings.num_layers if is_fusion else settings.encoder_layers
    return Parts(
        image_width=settings.image_width or width,
        image_layers=_layers(settings, settings.image_layers),
        text_width=settings.text_width or width,
        text_layers=_layers(settings, settings.text_layers),
        mixing_layers=(across,) * settings.mixing_layers,
        width=width if is_fusion else settings.encoder_width or width,
        layers=_layers(settings, own or settings.num_layers),
    )


def _layers(settings: ModelSettings, number: int) -> Layers:
    return (settings.uniform_layer(),) * number


def _picture(settings: ModelSettings, sizes: Sizes) -> Picture:
    return settings.picture(*(sizes[name] for name in IMAGE_SIZES))
