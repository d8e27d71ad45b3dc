"""Models of pictures and texts: towers whose streams become one.

    I  features of the picture     convolution or patches, and layers
    L  features of the text        a table of tokens, and layers
    M  the text over the picture   cross-attention: queries of L, keys and values of I
    S  both                        self-attention over M and I, one after the other
    T  adapters of domains         none by default; `slimjax.models.build` adds them
    O  what is answered            heads

One stream would have one width, and would attend from every position to every other in
every layer. Here each stream has a width of its own, and each width has its own price.

References:
    Tan and Bansal, "LXMERT", 2019, section 2: two encoders, then attention across.
    Li et al., "Align before Fuse", 2021, section 3.1: a text that attends to a picture.
"""

import dataclasses
from typing import Any, NamedTuple

from slimjax.models.config import ModelConfig
from slimjax.models.head import HeadConfig
from slimjax.models.layer_config import LayerConfig
from slimjax.models.options import next_token, split_options
from slimjax.models.style import T5, VIT, Style
from slimjax.models.tower_config import STREAMS, TowerConfig
from slimjax.nn.pictures import Picture

Layers = tuple[LayerConfig, ...]

SHARED_FIELDS = ("epsilon", "attention_scale")
"""Fields of the tower of texts that the other towers have too."""


class Parts(NamedTuple):
    """The parts of a fusion: a width and layers for each stream.

    Attributes:
        image_width: Width of the stream of pictures.
        image_layers: Its layers, behind the convolution or the patches.
        text_width: Width of the stream of texts.
        text_layers: Its layers.
        mixing_layers: Layers of attention of the text over the picture, with
            `LayerConfig.cross_heads`.
        width: Width of the stream of both.
        layers: Its layers of self-attention.
    """

    image_width: int
    image_layers: Layers
    text_width: int
    text_layers: Layers
    mixing_layers: Layers
    width: int
    layers: Layers


def fusion(
    vocab_size: int,
    parts: Parts,
    *,
    heads: tuple[HeadConfig, ...],
    picture: Picture | None,
    style: Style = VIT,
    **options: Any,
) -> ModelConfig:
    """Returns a model that answers from a picture and a text, in the six steps.

    Args:
        vocab_size: Tokens, V; 0 for pictures alone.
        parts: Widths and layers.
        heads: What is answered.
        picture: What reads pictures; None for texts alone.
        style: How all layers compute.
        **options: Fields of `ModelConfig`, and of `TowerConfig` for the text.

    Examples:
        >>> layer = LayerConfig(num_heads=2, num_kv_heads=2, head_dim=4, mlp_dim=16)
        >>> parts = Parts(6, (), 8, (layer,), (), 12, (layer,))
        >>> head, reads = HeadConfig("answer", 5, at="mean"), Picture(8, 8, 3, patch=4)
        >>> model = fusion(99, parts, heads=(head,), picture=reads)
        >>> [tower.name for tower in model.towers]
        ['image', 'text', 'mixed', '']
    """
    compute, own = split_options(options)
    towers = fuse(
        vocab_size, parts, picture, style, own
    )  # I, L, M, S; T is added to it
    return ModelConfig(towers, heads, **compute)  # O


def fuse(
    vocab_size: int,
    parts: Parts,
    picture: Picture | None,
    style: Style,
    options: dict[str, Any],
    *,
    name: str = "",
    reads: str = "tokens",
) -> tuple[TowerConfig, ...]:
    """Returns the towers of `fusion`; without pictures or without texts, fewer.

    Args:
        vocab_size: Tokens; 0 for pictures alone.
        parts: Widths and layers.
        picture: What reads pictures; None for texts alone.
        style: How all layers compute.
        options: Fields of `TowerConfig` for the text.
        name: The tower whose stream is that of both.
        reads: What the tower of texts reads.
    """
    full = dataclasses.replace(style, sees="all", tied=False)
    shared = {k: v for k, v in options.items() if k in SHARED_FIELDS}
    of_text = dict[str, Any](style=full, axis="text_embed", reads=reads, **options)
    both = dict[str, Any](stem=STREAMS, reads="", axis=_axis(name), **shared)
    both["style"] = dataclasses.replace(full, positions="none")

    def fused(*of: str) -> TowerConfig:
        return TowerConfig(name, parts.width, parts.layers, of=of, **both)  # S

    text = TowerConfig("text", parts.text_width, parts.text_layers, **of_text)  # L
    text = dataclasses.replace(text, num_inputs=vocab_size)
    if picture is None:
        return (text, fused("text"))
    own = parts.image_width, parts.image_layers
    image = image_tower("image", *own, picture, full, shared)  # I
    if not vocab_size:
        return (image, fused("image"))
    mixed = TowerConfig("mixed", parts.width, parts.mixing_layers, **both)  # M
    mixed = dataclasses.replace(mixed, memory="image", of=("text",))
    return (image, text, mixed, fused("mixed", "image"))  # O reads the last one.


def image_tower(
    name: str,
    width: int,
    layers: Layers,
    picture: Picture,
    style: Style,
    options: dict[str, Any],
) -> TowerConfig:
    """Returns a tower that reads pictures, with learned positions.

    Args:
        name: Its name.
        width: Width of its stream.
        layers: Its layers.
        picture: What reads pictures.
        style: How its layers compute.
        options: Further fields of `TowerConfig`.
    """
    return TowerConfig(
        *(name, width, layers),
        style=dataclasses.replace(style, sees="all", positions="learned", tied=False),
        stem="patches" if picture.patch else "convolution",
        picture=picture,
        reads="image",
        axis=_axis(name),
        num_positions=picture.num_positions,
        **options,
    )


def captioner(
    vocab_size: int,
    width: int,
    layers: Layers,
    parts: Parts,
    *,
    picture: Picture,
    source_vocab_size: int = 0,
    heads: tuple[HeadConfig, ...] | None = None,
    style: Style = T5,
    **options: Any,
) -> ModelConfig:
    """Returns a decoder with cross-attention to a picture, or to a picture and a text.

    Args:
        vocab_size: Tokens that are written, V.
        width: Width of the decoder's residual stream.
        layers: Layers of the decoder, with `LayerConfig.cross_heads`.
        parts: Widths and layers of what it attends to.
        picture: What reads pictures.
        source_vocab_size: Tokens of the input ``source``; 0 for pictures alone.
        heads: What the decoder answers; by default the next token.
        style: How all layers compute.
        **options: Fields of `ModelConfig`, and of `TowerConfig` for texts.
    """
    compute, own = split_options(options)
    shared = {k: v for k, v in own.items() if k in SHARED_FIELDS}
    seen = parts.image_width, parts.image_layers, picture, style, shared
    towers = (image_tower("image", *seen),)
    if source_vocab_size:
        names = dict(name="fused", reads="source")
        towers = fuse(source_vocab_size, parts, picture, style, own, **names)
    past = dataclasses.replace(style, sees="past")
    memory = dict[str, Any](memory=towers[-1].name, num_inputs=vocab_size)
    main = TowerConfig("", width, layers, past, **memory, **own)
    heads = heads or next_token(vocab_size, style)
    return ModelConfig((*towers, main), heads, **compute)


def _axis(name: str) -> str:
    return f"{name}_embed" if name else "embed"
