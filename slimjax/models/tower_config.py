"""The shape of one tower: a residual stream, and the layers that write to it."""

import dataclasses
from collections.abc import Mapping

from slimjax.models.layer_config import LayerConfig
from slimjax.models.style import LLAMA, Style
from slimjax.nn.pictures import Picture
from slimjax.nn.positions import RopeScaling

STEMS = ("tokens", "characters", "features", "convolution", "patches")
STREAMS = "streams"
"""The stem of a tower that reads the last streams of other towers."""

IMAGE_STEMS = ("convolution", "patches")
"""Stems that read pictures."""


@dataclasses.dataclass(frozen=True)
class TowerConfig:
    """One residual stream and the layers that write to it.

    Attributes:
        name: Its name; empty for the main tower, whose variables stand at the root.
        width: Width of the residual stream, D.
        layers: The layers, in order; L of them.
        style: How they compute.
        stem: What it reads: ``tokens``, by a table, ``characters``, the bytes of tokens
            by a convolution, ``features``, by a product, or pictures, by a
            ``convolution`` or in ``patches``. `STREAMS` reads other towers.
        num_inputs: Tokens of the table, V, or features; 0 for characters alone.
        picture: The pictures that it reads, and what reads them; None for none.
        of: Of `STREAMS`: the towers whose last streams it reads, one after the other.
        token_bytes: Of ``characters``: bytes of a token that are read, L.
        byte_dim: Of ``characters``: width of the vectors of bytes, E.
        axis: Name of the width. Towers that share it are cut alike, and share channels.
        reads: The input that it reads, such as ``tokens`` or ``source``.
        table_of: The tower whose table of tokens it reads too; None for its own.
        window: Positions that are seen on each side, the own one included; 0 for all.
        memory: The tower that cross-attention reads; None for none.
        domains: Names of domains, in the order of their numbers in a batch.
        embed_scale: Factor of the vectors of tokens, which no cut changes; 0 becomes
            sqrt(width).
        rope_base: Base of rotary angles.
        rope_scaling: How they are slowed down for long texts; None for not at all.
        num_positions: Positions of a table of learned positions, P.
        position_offset: Rows of that table before the one of the first position.
        attention_scale: Factor of the scores of attention; 0 for 1 / sqrt(H).
        buckets: Buckets and longest distance of relative positions.
        token_types: Kinds of tokens that have a vector each; 0 for none.
        activation: Of ``features``: that of what the stem writes.
        epsilon: What keeps the root of norms away from zero.
    """

    name: str
    width: int
    layers: tuple[LayerConfig, ...]
    style: Style = LLAMA
    stem: str = "tokens"
    num_inputs: int = 0
    picture: Picture | None = None
    of: tuple[str, ...] = ()
    token_bytes: int = 0
    byte_dim: int = 0
    axis: str = "embed"
    reads: str = "tokens"
    table_of: str | None = None
    window: int = 0
    memory: str | None = None
    domains: tuple[str, ...] = ()
    embed_scale: float = 0.0
    rope_base: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    num_positions: int = 0
    position_offset: int = 0
    attention_scale: float = 0.0
    buckets: tuple[int, int] = (32, 128)
    token_types: int = 0
    activation: str = "none"
    epsilon: float = 1e-6

    def __post_init__(self):
        """Fixes the scale of the embedding, and takes what a file holds."""
        first, last = self.buckets
        object.__setattr__(self, "buckets", (first, last))
        object.__setattr__(self, "of", tuple(self.of))
        object.__setattr__(self, "domains", tuple(self.domains))
        if isinstance(self.picture, dict):
            object.__setattr__(self, "picture", Picture(**self.picture))
        if isinstance(self.rope_scaling, dict):
            scaling = RopeScaling(**self.rope_scaling)
            object.__setattr__(self, "rope_scaling", scaling)
        if not self.embed_scale:
            object.__setattr__(self, "embed_scale", self.width**0.5)

    @property
    def sees_all(self) -> bool:
        """Whether a position attends to what comes after it, too."""
        return self.style.sees == "all"

    @property
    def has_table(self) -> bool:
        """Whether it reads a table of tokens, alone or beside characters."""
        return self.stem in ("tokens", "characters") and self.num_inputs > 0

    @property
    def reads_numbers(self) -> bool:
        """Whether it reads numbers, features or pictures, and no tokens."""
        return self.stem == "features" or self.picture is not None

    @property
    def norms_embedding(self) -> bool:
        """Whether a norm stands behind the embedding."""
        return self.style.norm_at == "output" and bool(self.layers)

    @property
    def norms_end(self) -> bool:
        """Whether a norm stands behind the last layer."""
        return self.style.norm_at == "input" and bool(self.layers)

    def length(self, lengths: Mapping[str, int]) -> int:
        """Returns the positions of a row, by the name of the tower or of its input.

        A row of features has one, and a picture has its places.
        """
        if self.stem == "features":
            return 1
        if self.picture is not None:
            return self.picture.num_positions
        names = (self.name, self.reads, "")
        return lengths[next(name for name in names if name in lengths)]

    def num_keys(self, length: int) -> float:
        """Returns the keys that a query meets in the mean.

        Of all positions before it, that is half of them.

        Examples:
            >>> tower = TowerConfig("", 4, (), window=16)
            >>> tower.num_keys(64), dataclasses.replace(tower, window=0).num_keys(64)
            (14.0, 32.0)
        """
        reach = min(self.window, length) if self.window else length
        if self.sees_all:
            return 2 * reach - 1 - reach * (reach - 1) / length
        return reach - reach * reach / (2 * length)


@dataclasses.dataclass(frozen=True)
class Compute:
    """How a model computes, whatever its shape.

    Attributes:
        dtype: Type of the operands of matrix products.
        attention_impl: How attention is computed; all ways are exact.
        remat: What layers compute again in the backward pass, to save memory.
        scan_layers: Whether runs of equal layers are compiled as loops.
        dropout: Part of the numbers that are dropped in training: of embeddings, of
            what sublayers add, of what heads read, and of attention's weights.
        adapter_skip: Part of the rows that pass without an adapter in training.
    """

    dtype: str = "float32"
    attention_impl: str = "auto"
    remat: str = "none"
    scan_layers: str | bool = "auto"
    dropout: float = 0.0
    adapter_skip: float = 0.0
