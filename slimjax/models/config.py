"""The shape of a model: one entry a layer, since a slimmed model is ragged."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimjax.errors import ConfigError, suggest
from slimjax.models.head import HeadConfig
from slimjax.models.use import Use, UseFn
from slimjax.nn.implementations import IMPLEMENTATIONS
from slimjax.paths import user_path

DTYPES = ("float32", "bfloat16")
REMATS = ("none", "dots", "full")


MAX_LAYERS = 4096
"""Far more than any model has: each of them is traced when a step is compiled."""


@dataclasses.dataclass(frozen=True)
class LayerConfig:
    """One layer; a sublayer that was removed keeps only its flag.

    Attributes:
        num_heads: Query heads, N; a multiple of `num_kv_heads`.
        num_kv_heads: Key/value heads, K.
        head_dim: Width of a head, H; even, because rotary positions turn pairs.
        mlp_dim: Hidden width of the MLP, F.
        attention: Whether the layer has attention.
        mlp: Whether the layer has an MLP.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    mlp_dim: int
    attention: bool = True
    mlp: bool = True

    def check(self, where: str) -> None:
        """Raises `ConfigError`, naming the place, if no layer has this shape."""
        fields = dataclasses.asdict(self)
        for name in ("attention", "mlp"):
            if not isinstance(fields[name], bool):
                raise ConfigError(f"{where}.{name}={fields[name]!r} must be a boolean.")
        sizes = ["head_dim"]
        sizes += ["num_heads", "num_kv_heads"] if self.attention else []
        sizes += ["mlp_dim"] if self.mlp else []
        for name in ("num_heads", "num_kv_heads", "head_dim", "mlp_dim"):
            value, least = fields[name], int(name in sizes)
            if not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"{where}.{name}={value!r} must be an integer of {least} or more."
                )
        if self.attention and self.num_heads % self.num_kv_heads:
            raise ConfigError(
                f"{where}.num_heads={self.num_heads} must be a multiple of "
                f"{where}.num_kv_heads={self.num_kv_heads}."
            )
        if self.head_dim % 2:
            raise ConfigError(
                f"{where}.head_dim={self.head_dim} must be even: rotary positions "
                "turn pairs of channels."
            )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A decoder's shape and how it computes.

    Attributes:
        vocab_size: Number of tokens, V.
        width: Width of the residual stream, D.
        layers: The layers, in order; L of them.
        dtype: Type of the operands of matrix products.
        attention_impl: How attention is computed; all ways are exact.
        rope_base: Base of the rotary angles.
        remat: What layers compute again in the backward pass, to save memory.
        embed_scale: Factor of the vectors of tokens, which no cut changes; 0 becomes
            sqrt(width).
        scan_layers: Whether runs of equal layers are compiled as loops.
    """

    vocab_size: int
    width: int
    layers: tuple[LayerConfig, ...]
    dtype: str = "float32"
    attention_impl: str = "auto"
    rope_base: float = 10_000.0
    remat: str = "none"
    embed_scale: float = 0.0
    scan_layers: str | bool = "auto"

    def __post_init__(self):
        """Fixes the scale of the embedding."""
        if not self.embed_scale:
            object.__setattr__(self, "embed_scale", self.width**0.5)

    def uses(self, lengths: Mapping[str, int]) -> UseFn:
        """Returns the use of each weight.

        Args:
            lengths: Positions of a row, by tower; the main one is called "".
        """
        keys = lengths[""] / 2  # A query meets half of them, in the mean.

        def use_of(path: tuple[str, ...], axes: tuple[str, ...]) -> Use:
            if len(axes) < 2 or axes[0] in ("bias", "scale"):
                return Use()
            is_query, is_cached = path[-1] == "query", path[-1] in ("key", "value")
            return Use(1.0, keys * is_query, float(is_cached))

        return use_of

    @property
    def num_layers(self) -> int:
        """Layers of the main tower, L."""
        return len(self.layers)

    @property
    def is_random(self) -> bool:
        """Whether the model draws from a key in training, such as for dropout."""
        return False

    @property
    def heads(self) -> tuple[HeadConfig, ...]:
        """What the model answers: the next token at each position."""
        return (HeadConfig("tokens", self.vocab_size, table="tied"),)

    def module(self) -> Any:
        """Returns the Linen module: ``apply(variables, inputs, key)`` -> readouts."""
        from slimjax.models.decoder import Decoder

        return Decoder(self)

    def abstract_variables(self) -> Any:
        """Returns the shapes of weights and gates, boxed with their axes' names."""
        from slimjax.models.decoder import abstract_variables

        return abstract_variables(self)

    def reshaped(self, params: Any) -> "ModelConfig":
        """Returns the model with the width and layers that `params` have."""
        from slimjax.models.decoder import config_of

        return config_of(self, params)

    def architecture(self) -> list[dict[str, Any]]:
        """Returns the layers as plain data, the content of ``architecture.json``.

        Each of them tells the width of the residual stream that it works on.
        """
        return [{"width": self.width, **dataclasses.asdict(x)} for x in self.layers]

    def with_architecture(self, entries: Any, where: str) -> "ModelConfig":
        """Returns the model with layers and width from plain data.

        Raises:
            ConfigError: If the data, found at the place `where`, are no architecture.
        """
        layers = parse_architecture(entries, where)
        widths = {entry.get("width", self.width) for entry in entries}
        if len(widths) > 1 or not all(type(w) is int and w > 0 for w in widths):
            raise ConfigError(f"{where}: layers must have one width, 1 or more.")
        return dataclasses.replace(self, width=widths.pop(), layers=layers)


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The block ``config.model``: a uniform start, or an architecture from a file.

    Attributes:
        width: Width of the residual stream, D.
        num_layers: Number of layers, L.
        num_heads: Query heads a layer, N.
        num_kv_heads: Key/value heads a layer, K; 0 means as many as query heads.
        head_dim: Width of a head, H; 0 means width / num_heads.
        mlp_dim: Hidden width of the MLP, F.
        dtype: Type of the operands of matrix products: float32 or bfloat16.
        attention_impl: How attention is computed: auto, or by name reference, blocked,
            native (CPU), cudnn (GPU, bfloat16) or splash (TPU); all exact.
        rope_base: Base of the rotary angles.
        remat: What each layer computes again in the backward pass: none, dots (all but
            products with weights) or full.
        embed_scale: Factor of the vectors of tokens; 0 means sqrt(width). It stays
            when the model grows narrower.
        scan_layers: Whether layers of one shape that follow each other are compiled
            once, as a loop over their weights: true, false, or auto, which is from
            four of them on (16 on a CPU, where a step takes some 5 % longer for it). It
            changes compile time and memory, and no number but by rounding.
        architecture: Path of an ``architecture.json``, whose layers and width replace
            the uniform ones; empty for none.
    """

    width: int = 256
    num_layers: int = 4
    num_heads: int = 8
    num_kv_heads: int = 0
    head_dim: int = 0
    mlp_dim: int = 704
    dtype: str = "bfloat16"
    attention_impl: str = "auto"
    rope_base: float = 10_000.0
    remat: str = "none"
    embed_scale: float = 0.0
    scan_layers: str | bool = "auto"
    architecture: str = ""

    def __post_init__(self):
        """Refuses values that no model has."""
        for name in ("width", "num_layers", "num_heads", "mlp_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"config.model.{name}={getattr(self, name)} must be 1 or more."
                )
        if self.num_layers > MAX_LAYERS:
            raise ConfigError(
                f"config.model.num_layers={self.num_layers} must be at most "
                f"{MAX_LAYERS}."
            )
        for name in ("num_kv_heads", "head_dim"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"config.model.{name}={getattr(self, name)} must be 0 (derived) "
                    "or more."
                )
        if not math.isfinite(self.rope_base) or self.rope_base <= 1:
            raise ConfigError(
                f"config.model.rope_base={self.rope_base} must be a number above 1."
            )
        if not math.isfinite(self.embed_scale) or self.embed_scale < 0:
            raise ConfigError(
                f"config.model.embed_scale={self.embed_scale} must be a number of 0 "
                "(derived) or more."
            )
        choices = dict(dtype=DTYPES, attention_impl=IMPLEMENTATIONS, remat=REMATS)
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                hint = suggest(value, known)
                raise ConfigError(f"config.model.{name}={value!r} is unknown. {hint}")
        if self.scan_layers not in (True, False, "auto"):
            raise ConfigError(
                f"config.model.scan_layers={self.scan_layers!r} must be true, false or "
                "auto."
            )
        if not self.head_dim and self.width % self.num_heads:
            raise ConfigError(
                f"config.model.width={self.width} must be a multiple of "
                f"config.model.num_heads={self.num_heads}, or set "
                "config.model.head_dim."
            )
        self._uniform_layer().check("config.model")

    def build(self, vocab_size: int) -> ModelConfig:
        """Returns the model's shape for a vocabulary.

        Raises:
            ConfigError: If the architecture file cannot be read or holds no model.
        """
        config = ModelConfig(
            vocab_size=vocab_size,
            width=self.width,
            layers=(self._uniform_layer(),) * self.num_layers,
            dtype=self.dtype,
            attention_impl=self.attention_impl,
            rope_base=float(self.rope_base),
            remat=self.remat,
            embed_scale=self.embed_scale,
            scan_layers=self.scan_layers,
        )
        if not self.architecture:
            return config
        entries = read_architecture(self.architecture)
        return config.with_architecture(entries, self.architecture)

    def _uniform_layer(self) -> LayerConfig:
        return LayerConfig(
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads or self.num_heads,
            head_dim=self.head_dim or self.width // self.num_heads,
            mlp_dim=self.mlp_dim,
        )


BESIDE = ("width", "bits")
"""What a layer's entry may tell beside its shape."""


def parse_architecture(entries: Any, where: str) -> tuple[LayerConfig, ...]:
    """Returns layers from plain data, such as ``architecture.json`` holds.

    Bits of their units may stand there too, and are no part of a shape. The width, if
    an entry tells it, is for `ModelConfig.with_architecture` to read.

    Raises:
        ConfigError: If an entry is no layer; names the place `where` and the entry.
    """
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{where} must hold a list of one layer or more.")
    known = {field.name for field in dataclasses.fields(LayerConfig)}
    layers = []
    for i, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not set(entry) <= {*known, *BESIDE}:
            raise ConfigError(f"{where}[{i}] is no layer. Known keys: {sorted(known)}.")
        try:
            layer = LayerConfig(**{k: v for k, v in entry.items() if k in known})
        except TypeError as error:
            raise ConfigError(f"{where}[{i}] is no whole layer: {error}.") from error
        layer.check(f"{where}[{i}]")
        layers.append(layer)
    return tuple(layers)


def read_architecture(path: str | Path) -> Any:
    """Returns what an ``architecture.json`` holds, not yet checked.

    Raises:
        ConfigError: If the file is missing or no JSON.
    """
    try:
        return json.loads(user_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"config.model.architecture={str(path)!r} cannot be read: {error}."
        ) from error
