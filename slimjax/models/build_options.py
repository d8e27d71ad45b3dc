"""From the block ``config.model`` to fields of towers, and to how a model computes."""

import dataclasses
from typing import Any

from slimjax.models.settings import ModelSettings
from slimjax.models.tower_config import Compute


def tower_options(settings: ModelSettings, longest: int) -> dict[str, Any]:
    """Returns how a model computes, and the fields of towers that read texts.

    Args:
        settings: The block ``config.model``.
        longest: Positions of the longest row, for tables of positions.
    """
    characters = {}
    if settings.stem == "characters":
        names = ("stem", "token_bytes", "byte_dim")
        characters = {name: getattr(settings, name) for name in names}
    in_table = settings.full_style.positions in ("learned", "sinusoidal")
    return (
        compute_options(settings)
        | characters
        | dict(
            window=settings.window,
            embed_scale=settings.embed_scale,
            rope_base=float(settings.rope_base),
            rope_scaling=settings.rope,
            position_offset=settings.position_offset,
            attention_scale=float(settings.attention_scale),
            buckets=(settings.relative_buckets, settings.relative_distance),
            num_positions=longest if in_table else 0,
            token_types=settings.token_types,
            epsilon=float(settings.norm_epsilon),
        )
    )


def compute_options(settings: ModelSettings) -> dict[str, Any]:
    """Returns how a model computes."""
    names = (field.name for field in dataclasses.fields(Compute))
    return {name: getattr(settings, name) for name in names}
