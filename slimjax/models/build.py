"""From the block ``config.model`` to the shape of a model, for some data."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from slimjax.errors import ConfigError
from slimjax.models import recipes
from slimjax.models.adapters import add_adapters
from slimjax.models.architecture import read_architecture
from slimjax.models.build_images import (
    build_captioner,
    build_fusion,
    build_image_encoder,
    cross_heads,
)
from slimjax.models.build_options import compute_options, tower_options
from slimjax.models.config import ModelConfig
from slimjax.models.head import HeadConfig
from slimjax.models.settings import ModelSettings


def build_model(
    settings: ModelSettings,
    sizes: int | Mapping[str, int],
    heads: tuple[HeadConfig, ...] = (),
    lengths: Mapping[str, int] | None = None,
    domains: tuple[str, ...] = (),
) -> ModelConfig:
    """Returns the model's shape for some data.

    Args:
        settings: The block ``config.model``.
        sizes: Numbers of kinds, ``vocab`` or ``features``, and sizes of pictures, as
            `slimjax.models.build_images.IMAGE_SIZES` names them; or the vocabulary
            alone.
        heads: What the task asks for; by default the next token. Those that read the
            ``first`` position pool as the setting says, and those of a tied table have
            one of their own where tables are not tied.
        lengths: Positions of a row, by tower, for tables of positions.
        domains: Names of the domains that rows are of, for adapters.

    Raises:
        ConfigError: If the architecture file cannot be read or is not one.

    Examples:
        >>> build_model(ModelSettings(width=64, num_layers=3), 100).num_layers
        3
    """
    sizes = {"vocab": sizes} if isinstance(sizes, int) else sizes
    lengths = lengths or {"": 0}
    longest = max(lengths.values())
    make: dict[str, Callable[..., ModelConfig]] = {
        "encoder_decoder": _build_encoder_decoder,
        "fusion": build_fusion,
        "mlp": _build_mlp,
    }
    fitted = tuple(_fit_head(settings, head) for head in heads) or None
    if settings.kind == "encoder_decoder" and settings.reads_images:
        has_source = "source" in lengths
        config = build_captioner(settings, sizes, fitted, longest, has_source)
    else:
        make_it = make.get(settings.kind, _build_decoder)
        config = make_it(settings, sizes, fitted, longest)
    entries, where = settings.architecture, "config.model.architecture"
    if entries:
        if isinstance(entries, str):
            where, entries = entries, read_architecture(entries)
        config = config.with_architecture(entries, where)
    if settings.adapters and domains:
        return _adapt(config, domains, settings.adapters["width"])
    return config


def _adapt(config: ModelConfig, domains: tuple[str, ...], width: int) -> ModelConfig:
    """Returns a model of these domains, with adapters if it has none yet.

    Raises:
        ConfigError: If it has no sublayer that an adapter may stand behind.
    """
    has_some = any(layer.adapters for t in config.towers for layer in t.layers)
    towers = [
        dataclasses.replace(tower, domains=domains)
        if has_some
        else add_adapters(tower, domains, width)  # T
        for tower in config.towers
    ]
    if not any(layer.adapters for tower in towers for layer in tower.layers):
        raise ConfigError(
            "config.model.adapters stand behind sublayers, and this model has none. "
            "Set config.model.num_layers to 1 or more, or leave adapters out."
        )
    return dataclasses.replace(config, towers=tuple(towers))


def _build_decoder(
    settings: ModelSettings, sizes: Mapping[str, int], heads: Any, longest: int
) -> ModelConfig:
    layers = (settings.uniform_layer(),) * settings.num_layers
    options = tower_options(settings, longest) | dict(style=settings.full_style)
    if settings.reads_images:
        return build_image_encoder(settings, sizes, heads)
    num_tokens = sizes["vocab"] if settings.token_table else 0
    return recipes.decoder(num_tokens, settings.width, layers, heads=heads, **options)


def _build_encoder_decoder(
    settings: ModelSettings, sizes: Mapping[str, int], heads: Any, longest: int
) -> ModelConfig:
    layer = settings.uniform_layer()
    across = cross_heads(settings)
    own_table = settings.width if "source_vocab" in sizes else 0
    if settings.copies and own_table:
        raise ConfigError(
            "config.model.copies=True writes tokens of the source, and sources have a "
            "tokenizer of their own. Set config.data.source_vocab_size=0."
        )
    return recipes.encoder_decoder(
        sizes["vocab"],
        settings.width,
        (dataclasses.replace(layer, **across),) * settings.num_layers,
        encoder_layers=(layer,) * (settings.encoder_layers or settings.num_layers),
        encoder_width=settings.encoder_width or own_table,
        source_vocab_size=sizes.get("source_vocab", 0),
        heads=heads,
        style=settings.full_style,
        **tower_options(settings, longest),
    )


def _build_mlp(
    settings: ModelSettings, sizes: Mapping[str, int], heads: Any, longest: int
) -> ModelConfig:
    del longest
    options = compute_options(settings) | dict(heads=heads)
    options["activation"] = settings.mlp or "sigmoid"
    return recipes.mlp(sizes["features"], settings.width, **options)


def _fit_head(settings: ModelSettings, head: HeadConfig) -> HeadConfig:
    is_text = settings.kind == "encoder" and not settings.reads_images
    pool = settings.pool or ("first" if is_text else "mean")
    changes: dict[str, Any] = {}
    if head.at == "first":
        changes = dict(at=pool, pooler=settings.width * settings.pooler)
        changes["pooler_activation"] = settings.pooler_activation
    alone = settings.stem == "characters" and not settings.token_table
    if head.table == "tied" and (alone or not settings.full_style.tied):
        changes |= {"table": "own"}
    if head.table == "tied":
        changes |= dict(bias=settings.token_bias, scale=settings.token_scale)
        if settings.token_transform:
            epsilon = float(settings.norm_epsilon)
            changes |= dict(transform=settings.token_transform, epsilon=epsilon)
    if settings.copies and head.at == "each":
        changes |= {"copy_dim": settings.uniform_layer().head_dim}
    return dataclasses.replace(head, **changes)
