"""The shape of one layer; a slimmed model has layers of many shapes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from slimjax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class LayerConfig:
    """One layer; a sublayer that was removed keeps only its flag.

    Attributes:
        num_heads: Query heads, N; a multiple of `num_kv_heads`.
        num_kv_heads: Key/value heads, K.
        head_dim: Width of a head, H.
        mlp_dim: Hidden width of the MLP, F.
        attention: Whether the layer has self-attention.
        mlp: Whether the layer has an MLP.
        cross_heads: Query heads of attention to another tower; 0 for none.
        cross_kv_heads: Its key/value heads.
        state_dim: Units of a recurrent layer; 0 for none.
        adapters: Name and hidden width of each adapter of a domain.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    mlp_dim: int
    attention: bool = True
    mlp: bool = True
    cross_heads: int = 0
    cross_kv_heads: int = 0
    state_dim: int = 0
    adapters: tuple[tuple[str, int], ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LayerConfig":
        """Returns the layer that plain data describe, unchecked.

        Raises:
            TypeError: If an attribute is missing or unknown.
            ValueError: If an adapter is no pair of a name and a width.
        """
        pairs = tuple((str(name), width) for name, width in data.get("adapters", ()))
        return cls(**{**data, "adapters": pairs})

    @property
    def cross(self) -> bool:
        """Whether the layer attends to another tower."""
        return self.cross_heads > 0

    @property
    def recurrent(self) -> bool:
        """Whether the layer has a recurrent sublayer."""
        return self.state_dim > 0

    @property
    def is_empty(self) -> bool:
        """Whether all sublayers were removed."""
        own = self.attention or self.recurrent or self.cross or self.mlp
        return not (own or self.adapters)

    def as_json(self) -> dict[str, Any]:
        """Returns plain data, without the parts that only some layers have."""
        data = dataclasses.asdict(self)
        if not self.cross:
            del data["cross_heads"], data["cross_kv_heads"]
        if not self.recurrent:
            del data["state_dim"]
        if not self.adapters:
            del data["adapters"]
        return data

    def check(self, where: str, *, rotary: bool = True) -> None:
        """Raises `ConfigError`, naming the place, if no layer has this shape."""
        fields = dataclasses.asdict(self)
        for name in ("attention", "mlp"):
            if not isinstance(fields[name], bool):
                raise ConfigError(f"{where}.{name}={fields[name]!r} must be a boolean.")
        least = dict(num_heads=self.attention, num_kv_heads=self.attention)
        least |= dict(head_dim=True, mlp_dim=self.mlp, cross_heads=False)
        least |= dict(state_dim=False)
        least |= dict(cross_kv_heads=fields["cross_heads"] not in (0, False))
        for name, floor in least.items():
            value = fields[name]
            if type(value) is not int or value < floor:
                raise ConfigError(
                    f"{where}.{name}={value!r} must be an integer of {int(floor)} or "
                    "more."
                )
        for name, width in self.adapters:
            if type(width) is not int or width < 1:
                raise ConfigError(
                    f"{where}.adapters: {name}={width!r} must be an integer of 1 or "
                    "more."
                )
        self._check_groups(where)
        if rotary and self.head_dim % 2:
            raise ConfigError(
                f"{where}.head_dim={self.head_dim} must be even: rotary positions "
                "turn pairs of channels."
            )

    def _check_groups(self, where: str) -> None:
        pairs = [("num_heads", "num_kv_heads")] if self.attention else []
        pairs += [("cross_heads", "cross_kv_heads")] if self.cross else []
        for many, few in pairs:
            if getattr(self, many) % getattr(self, few):
                raise ConfigError(
                    f"{where}.{many}={getattr(self, many)} must be a multiple of "
                    f"{where}.{few}={getattr(self, few)}."
                )
