"""The shape of a model: towers, and heads that read them."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from jaxtyping import PyTree

from slimjax.models.architecture import apply_architecture, describe
from slimjax.models.head import HeadConfig
from slimjax.models.head import HeadSettings as HeadSettings
from slimjax.models.layer_config import LayerConfig
from slimjax.models.reshape import reshape_tower
from slimjax.models.settings import ModelSettings as ModelSettings
from slimjax.models.tower_config import Compute, TowerConfig
from slimjax.models.use import UseFn
from slimjax.models.uses import make_use_fn, targets_per_row


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A model's shape and how it computes; `slimjax.models.recipes` makes them.

    Attributes:
        towers: Residual streams with their layers, each after those that it reads; the
            main one, whose name is empty, is among them.
        heads: What the model answers.
        dtype: Type of the operands of matrix products.
        attention_impl: How attention is computed; all ways are exact.
        remat: What layers compute again in the backward pass, to save memory.
        scan_layers: Whether runs of equal layers are compiled as loops.
        dropout: Part of the numbers that are dropped in training.
        adapter_skip: Part of the rows that pass without an adapter in training.
    """

    towers: tuple[TowerConfig, ...]
    heads: tuple[HeadConfig, ...]
    dtype: str = "float32"
    attention_impl: str = "auto"
    remat: str = "none"
    scan_layers: str | bool = "auto"
    dropout: float = 0.0
    adapter_skip: float = 0.0

    @property
    def compute(self) -> Compute:
        """How it computes, whatever its shape."""
        names = (field.name for field in dataclasses.fields(Compute))
        return Compute(**{name: getattr(self, name) for name in names})

    @cached_property
    def by_name(self) -> dict[str, TowerConfig]:
        """The towers by name."""
        return {tower.name: tower for tower in self.towers}

    @property
    def main(self) -> TowerConfig:
        """The main tower."""
        return self.by_name[""]

    @property
    def reader(self) -> TowerConfig:
        """The tower that reads a text as a whole: the main one, or its memory."""
        return self.by_name[self.main.memory or ""]

    @property
    def width(self) -> int:
        """Width of the main residual stream, D."""
        return self.main.width

    @property
    def layers(self) -> tuple[LayerConfig, ...]:
        """Layers of the main tower."""
        return self.main.layers

    @property
    def num_layers(self) -> int:
        """Layers of the main tower, L."""
        return len(self.main.layers)

    @property
    def vocab_size(self) -> int:
        """Tokens that the main tower reads, V."""
        return self.main.num_inputs

    @property
    def is_random(self) -> bool:
        """Whether training draws random numbers inside of the model."""
        return self.dropout > 0 or self.adapter_skip > 0

    def with_main(self, **changes: Any) -> "ModelConfig":
        """Returns the model with changes of its main tower, such as ``width=64``."""
        towers = tuple(
            tower if tower.name else dataclasses.replace(tower, **changes)
            for tower in self.towers
        )
        return dataclasses.replace(self, towers=towers)

    def module(self) -> Any:
        """Returns the Linen module: ``apply(variables, inputs, key)`` -> readouts."""
        from slimjax.models.network import Network

        return Network(self.towers, self.heads, self.compute)

    def init(self, key: Any) -> PyTree:
        """Returns fresh weights and open gates, boxed with the names of their axes."""
        from slimjax.models.variables import init_variables

        return init_variables(self.towers, self.heads, self.compute, key)

    def abstract_variables(self) -> PyTree:
        """Returns the shapes of weights and gates, boxed with the names of their axes.

        Nothing is computed, and each shape of a layer is traced once, so this is cheap
        for a model of any size.
        """
        from slimjax.models.variables import abstract_variables

        return abstract_variables(self.towers, self.heads, self.compute)

    @cached_property
    def _abstract_gates(self) -> PyTree:
        from flax.linen import meta

        return meta.unbox(self.abstract_variables().get("gates", {}))

    def abstract_gates(self) -> PyTree:
        """Returns the shapes of gates."""
        return self._abstract_gates

    def uses(self, lengths: Mapping[str, int]) -> UseFn:
        """Returns the use of each weight.

        Args:
            lengths: Positions of a row, by tower; the main one is called "".
        """
        return make_use_fn(self.by_name, self.heads, lengths)

    def distance_to_heads(self, path: tuple[str, ...]) -> Any:
        """Returns how many layers stand between a weight and the heads.

        It is an array with one number for each layer of a run that is stacked.
        """
        from slimjax.models.distance import distance_to_heads

        modules = [head.module for head in self.heads]
        return distance_to_heads(self.towers, modules, path)

    def targets_per_row(self, lengths: Mapping[str, int]) -> int:
        """Returns how many targets a row has, which FLOPs are counted for."""
        return targets_per_row(self.by_name, self.heads, lengths)

    def reshaped(self, params: PyTree) -> "ModelConfig":
        """Returns the model with the widths and layers that weights have.

        Args:
            params: Weights, arrays or shapes, of a model with as many layers.
        """

        def reshape(tower: TowerConfig) -> TowerConfig:
            owner = tower.name if tower.table_of is None else tower.table_of
            own, shared = (params[n] if n else params for n in (tower.name, owner))
            table = shared["tokens"]["embedding"] if tower.has_table else None
            return reshape_tower(tower, own, table)

        towers = tuple(map(reshape, self.towers))
        widths = {tower.axis: tower.width for tower in reversed(towers)}
        towers = (dataclasses.replace(t, width=widths[t.axis]) for t in towers)
        return dataclasses.replace(self, towers=tuple(towers))

    def architecture(self, bits: Mapping[tuple[str, ...], Any] | None = None) -> Any:
        """Returns widths and layers as plain data, for ``architecture.json``.

        Args:
            bits: Bits of units, by bit key, that stand beside the layers.
        """
        return describe(self.towers, bits)

    def with_architecture(self, entries: Any, where: str) -> "ModelConfig":
        """Returns the model with layers and widths from plain data.

        Raises:
            ConfigError: If the data, found at the place `where`, are not an
                architecture.
        """
        towers = apply_architecture(self.towers, entries, where)
        return dataclasses.replace(self, towers=towers)
