"""What may be removed, and what must stay."""

import dataclasses
from fnmatch import fnmatchcase

from slimjax.nn.gates import CHANNELS, SUBLAYER, kind_of
from slimjax.trees import Path

LAYER = "layer"
"""A layer, that is, all sublayers of a module together; it has no gate of its own."""

FILTERS = "filters"
"""Filters of a stage of a convolution, of which one stays."""

UNITS = ("heads", "kv_heads", "mlp", "state", FILTERS, SUBLAYER, LAYER, CHANNELS)
"""Kinds of units: axes that have gates, sublayers and layers."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What may be removed, and what must stay.

    Attributes:
        units: Kinds of units that may be removed: heads (query heads), kv_heads (KV
            groups), mlp, state (of recurrent layers), filters (of convolutions),
            sublayer, layer, and embed, the channels of the residual streams. Only embed
            must be named to be removed: each channel is a row or column of every
            weight, which other units and strategies are not prepared for at all prices.
        frozen: Patterns of parts that are kept, as dotted paths of modules or gates,
            such as ``layer_0``, ``*.attention`` or ``layer_1.mlp.*``.
        multiple: MLP widths stay multiples of this.
        kv_heads_multiple: Numbers of KV heads stay multiples of this, such as the
            devices that share them; query heads follow their KV heads.
        width_multiple: The residual width stays a multiple of this.
        uniform: All layers of a tower keep the same shape, and none is removed.
        min_kv_heads: Smallest number of KV heads per layer; with 0 a whole attention
            may be removed.
        min_mlp_dim: Smallest MLP width; with 0 a whole MLP may be removed.
        min_width: Smallest residual width.
        min_layers: Layers of each tower that keep a sublayer, at least.
        max_fraction: The part of a family's open units that may be removed at once.
    """

    units: tuple[str, ...] = UNITS[:-1]
    frozen: tuple[str, ...] = ()
    multiple: int = 1
    kv_heads_multiple: int = 1
    width_multiple: int = 1
    uniform: bool = False
    min_kv_heads: int = 0
    min_mlp_dim: int = 0
    min_width: int = 1
    min_layers: int = 0
    max_fraction: float = 1.0

    def least(self, axis: str) -> int:
        """Returns the least number of open units of an axis."""
        floor = int(self.uniform)
        minima = {
            "kv_heads": max(self.min_kv_heads, floor),
            "mlp": max(self.min_mlp_dim, floor * self.multiple),
            CHANNELS: self.min_width,
            FILTERS: 1,
        }
        return minima.get(kind_of(axis), 0)

    def block(self, axis: str) -> int:
        """Returns the number of units of an axis that are removed together."""
        blocks = {"mlp": self.multiple, "kv_heads": self.kv_heads_multiple}
        return (blocks | {CHANNELS: self.width_multiple}).get(kind_of(axis), 1)

    def is_frozen(self, path: Path) -> bool:
        """Whether the units of a gate must stay.

        Examples:
            >>> limits = Limits(frozen=("encoder", "*.heads"))
            >>> limits.is_frozen(("encoder", "pool", "mlp"))
            True
            >>> limits.is_frozen(("pool", "mlp"))
            False
        """
        name = ".".join(path)
        return any(
            fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
            for pattern in self.frozen
        )

    def may_move(self, path: Path) -> bool:
        """Whether a gate may leave 1 at all: its units, or what they are part of."""
        kind = kind_of(path[-1])
        kind = LAYER if kind == SUBLAYER and SUBLAYER not in self.units else kind
        return kind in self.units and not self.is_frozen(path)

    def may_close_units(self, path: Path) -> bool:
        """Whether units of a gate may be removed one by one."""
        return kind_of(path[-1]) in self.units and path[-1] != SUBLAYER
