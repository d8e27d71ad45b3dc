"""Refuses values of ``config.model`` that no model has."""

import math
from typing import Any

from slimjax.config import check_most
from slimjax.errors import ConfigError, suggest
from slimjax.models.adapters import check_adapters
from slimjax.models.image_checks import check_image_settings
from slimjax.models.style import STYLES
from slimjax.models.tower_config import IMAGE_STEMS, STEMS
from slimjax.nn.axes import RULES
from slimjax.nn.implementations import ACTIVATIONS, IMPLEMENTATIONS, POOLS

KINDS = ("decoder", "encoder", "encoder_decoder", "fusion", "mlp")
DTYPES = ("float32", "bfloat16")
REMATS = ("none", "dots", "full")
ROPE = ("rope_type", "factor", "low_freq_factor", "high_freq_factor")
ROPE += ("original_max_position_embeddings",)
ROPES = {"linear": ROPE[:2], "llama3": ROPE}
"""Ways to slow rotary angles down, with the names of their settings."""


_SIZES: tuple[str, ...] = (
    "width",
    "encoder_width",
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "mlp_dim",
)
_SIZES += ("window", "token_types", "image_width", "text_width")
_LAYERS: tuple[str, ...] = ("num_layers", "encoder_layers")
_LAYERS += ("image_layers", "text_layers", "mixing_layers")
MOST: dict[str, int] = {name: 1 << 20 for name in _SIZES}
MOST |= {name: 4096 for name in _LAYERS}


def check_settings(settings: Any) -> None:
    """Raises `ConfigError` if no model has these `ModelSettings`."""
    _check_choices(settings)
    _check_numbers(settings)
    _check_heads(settings)
    _check_rope(settings.rope_scaling)
    _check_kind(settings)
    _check_relative(settings)
    check_image_settings(settings)
    check_adapters(settings.adapters)
    if settings.adapters and settings.kind == "mlp":
        raise ConfigError(
            "config.model.adapters stand behind sublayers, and config.model.kind='mlp' "
            "has none. Leave them out."
        )


def _check_choices(settings: Any) -> None:
    choices = dict(kind=KINDS, dtype=DTYPES, attention_impl=IMPLEMENTATIONS)
    choices |= dict(remat=REMATS, pool=("", *POOLS))
    choices |= dict(style=("", *STYLES), stem=("", *STEMS))
    for name, known in choices.items():
        value = getattr(settings, name)
        if value not in known:
            hint = suggest(value, [choice for choice in known if choice])
            raise ConfigError(f"config.model.{name}={value!r} is unknown. {hint}")
    if settings.scan_layers not in (True, False, "auto"):
        raise ConfigError(
            f"config.model.scan_layers={settings.scan_layers!r} must be true, false or "
            "auto."
        )


def _check_numbers(settings: Any) -> None:
    if not settings.token_table and settings.stem != "characters":
        raise ConfigError(
            "config.model.token_table=False is for config.model.stem='characters'."
        )
    for name in ("token_bytes", "byte_dim"):
        if not 1 <= getattr(settings, name) <= 256:
            raise ConfigError(
                f"config.model.{name}={getattr(settings, name)} must be in [1, 256]."
            )
    is_image = settings.kind == "encoder" and settings.stem in IMAGE_STEMS
    for name in ("width", "num_layers", "num_heads", "mlp_dim"):
        is_none = settings.kind == "mlp" or (name == "num_layers" and is_image)
        if getattr(settings, name) < 0 or not (getattr(settings, name) or is_none):
            raise ConfigError(
                f"config.model.{name}={getattr(settings, name)} must be 1 or more."
            )
    derived = ("num_kv_heads", "head_dim", "encoder_layers", "encoder_width")
    derived += ("image_width", "text_width", "image_layers", "text_layers")
    for name in (*derived, "mixing_layers", "window", "token_types"):
        if getattr(settings, name) < 0:
            raise ConfigError(
                f"config.model.{name}={getattr(settings, name)} must be 0 (derived, or "
                "none) or more."
            )
    check_most(settings, MOST, "config.model")
    if not math.isfinite(settings.rope_base) or settings.rope_base <= 1:
        raise ConfigError(
            f"config.model.rope_base={settings.rope_base} must be a number above 1."
        )
    if not math.isfinite(settings.embed_scale) or settings.embed_scale < 0:
        raise ConfigError(
            f"config.model.embed_scale={settings.embed_scale} must be a number of 0 "
            "(derived) or more."
        )
    if not 0 < settings.norm_epsilon < 1:
        raise ConfigError(
            f"config.model.norm_epsilon={settings.norm_epsilon} must be above 0 and "
            "below 1."
        )
    if not 0 <= settings.dropout < 1:
        raise ConfigError(
            f"config.model.dropout={settings.dropout} must be 0 or more and below 1."
        )
    _check_drop_connect(settings)


def _check_drop_connect(settings: Any) -> None:
    known = tuple(RULES)
    for axis, rate in settings.drop_connect.items():
        where = f"config.model.drop_connect[{axis!r}]={rate!r}"
        if axis not in known:
            raise ConfigError(f"{where}: no such axis. {suggest(axis, known)}")
        if not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise ConfigError(f"{where} must be 0 or more and below 1.")


def _check_kind(settings: Any) -> None:
    """Refuses settings that a kind of model does not have."""
    stem = "features" if settings.kind == "mlp" else "tokens"
    others: tuple[str, ...] = ("characters",) if settings.kind == "encoder" else ()
    if settings.kind in ("encoder", "encoder_decoder", "fusion"):
        others += IMAGE_STEMS
    stem = IMAGE_STEMS[0] if settings.kind == "fusion" else stem
    if settings.stem not in ("", stem, *others):
        raise ConfigError(
            f"config.model.stem={settings.stem!r} is not a stem of "
            f"config.model.kind={settings.kind!r}, which has "
            f"{' or '.join(map(repr, dict.fromkeys((stem, *others))))}."
        )
    if settings.kind == "mlp" and settings.mlp not in ("", *ACTIVATIONS):
        hint = suggest(settings.mlp, ACTIVATIONS)
        raise ConfigError(
            f"config.model.mlp={settings.mlp!r} is not an activation. {hint}"
        )
    for name in ("encoder_layers", "encoder_width"):
        if getattr(settings, name) and settings.kind != "encoder_decoder":
            raise ConfigError(
                f"config.model.{name}={getattr(settings, name)} is for "
                "config.model.kind='encoder_decoder'."
            )
    if settings.copies and settings.kind != "encoder_decoder":
        raise ConfigError(
            "config.model.copies=True is for config.model.kind='encoder_decoder'."
        )
    if settings.pool == "first" and settings.kind in ("decoder", "encoder_decoder"):
        raise ConfigError(
            "config.model.pool='first' is for encoders: in config.model.kind="
            f"{settings.kind!r} the first position sees only itself. Did you mean "
            "'mean'?"
        )
    if settings.kind in ("encoder", "fusion") and settings.sees == "past":
        raise ConfigError(
            f"config.model.sees='past' is not what config.model.kind={settings.kind!r} "
            "does. Did you mean config.model.kind='decoder'?"
        )


def _check_heads(settings: Any) -> None:
    activations = ("", *ACTIVATIONS)
    for name in ("token_transform", "pooler_activation"):
        value = getattr(settings, name)
        if value not in activations or (name[0] == "p" and not value):
            hint = suggest(value, ACTIVATIONS)
            raise ConfigError(f"config.model.{name}={value!r} is unknown. {hint}")
    for name, least in (("token_scale", 0), ("attention_scale", -1)):
        value = getattr(settings, name)
        if not math.isfinite(value) or value <= least or value < 0:
            what = "above 0" if not least else "0 (derived) or more"
            raise ConfigError(f"config.model.{name}={value} must be {what}.")
    least = dict(position_offset=0, relative_buckets=2, relative_distance=2)
    for name, floor in least.items():
        value = getattr(settings, name)
        if not floor <= value <= 1 << 20:
            raise ConfigError(
                f"config.model.{name}={value} must be in [{floor}, {1 << 20}]."
            )


def _check_relative(settings: Any) -> None:
    """Refuses buckets of relative positions that no distance, or all, would share."""
    style, buckets = settings.full_style, settings.relative_buckets
    if style.positions != "relative":
        return
    sees_all = {style.sees == "all"}
    sees_all |= {True} if settings.kind == "encoder_decoder" else set()
    exact = [
        buckets // 4 if to_both_sides else buckets // 2 for to_both_sides in sees_all
    ]
    if min(exact) < 1:
        raise ConfigError(
            f"config.model.relative_buckets={buckets} must be 4 or more where a "
            "position sees all others."
        )
    if settings.relative_distance <= max(exact):
        raise ConfigError(
            f"config.model.relative_distance={settings.relative_distance} must be "
            f"above {max(exact)}: so many distances have a bucket each with "
            f"config.model.relative_buckets={buckets}."
        )


def _check_rope(scaling: Any) -> None:
    where = "config.model.rope_scaling"
    if not scaling:
        return
    kind = scaling.get("rope_type")
    if kind not in ROPES:
        hint = suggest(str(kind), ROPES)
        raise ConfigError(f"{where}: rope_type={kind!r} is unknown. {hint}")
    if set(scaling) != set(ROPES[kind]):
        raise ConfigError(f"{where} of {kind!r} must have {list(ROPES[kind])}.")
    for name in ROPES[kind][1:]:
        value = scaling[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value <= 0:
            raise ConfigError(f"{where}: {name}={value!r} must be a number above 0.")
    if kind == "llama3" and scaling[ROPE[2]] >= scaling[ROPE[3]]:
        raise ConfigError(f"{where}: {ROPE[2]} must be below {ROPE[3]}.")
