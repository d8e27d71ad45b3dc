"""A blueprint: all that is decided about one shape of a model, before any device.

Nothing in it is compiled, and no array is made: shapes, names of axes, bits, sizes and
prices. What runs on devices is made from it (`slimjax.train.stage`).
"""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from flax import linen as nn
from jaxtyping import PyTree

from slimjax.data.dataset import Outline
from slimjax.distill.alignment import ALIGN, map_names
from slimjax.distill.peer import PEER, peer_names
from slimjax.models.config import ModelConfig
from slimjax.nn.depths import DEPTHS
from slimjax.nn.quantize import FULL, precision_names, uniform_precision
from slimjax.objective.inventory import Bits, Inventory, take_inventory, uniform_bits
from slimjax.objective.latency_table import LatencyTable
from slimjax.objective.measure import measure_sizes
from slimjax.objective.size import SizeFn, make_size_fn
from slimjax.strategies import get
from slimjax.strategies.base import Strategy
from slimjax.tasks.base import Task
from slimjax.train.config import RunConfig
from slimjax.trees import axis_names


@dataclasses.dataclass(frozen=True, eq=False)
class Blueprint:
    """One shape of the model in one run.

    Attributes:
        run: The run's config.
        task: What is to be answered.
        model: The shape.
        outline: What the model must know of the data.
        given_bits: Bits of the units of each bit key; None for those of the start.
        given_start_sizes: Sizes of the model that the run started from, by measure;
            None if that is this one.
        learns_bits: Whether units have depths, which are learned from these bits on.
        latency: What was measured, where latency counts.
        peer: The model that learns together with this one, if there is one.
    """

    run: RunConfig
    task: Task
    model: ModelConfig
    outline: Outline
    given_bits: Bits | None = None
    given_start_sizes: Mapping[str, float] | None = None
    learns_bits: bool = False
    latency: LatencyTable | None = None
    peer: ModelConfig | None = None

    @cached_property
    def boxed(self) -> PyTree:
        """Shapes of weights and gates, boxed with the names of their axes."""
        return self.model.abstract_variables()

    @cached_property
    def abstract_params(self) -> dict[str, PyTree]:
        """Shapes of weights and gates."""
        return dict(nn.meta.unbox(self.boxed))

    @cached_property
    def names(self) -> dict[str, PyTree]:
        """Names of the axes of all variables, by collection."""
        names = dict(axis_names(self.boxed))
        if self.run.distill.aligns:
            names[ALIGN] = map_names(self.model.num_layers)
        if self.peer is not None:
            names[PEER] = peer_names(self.peer)
        if self.learns_bits:
            names[DEPTHS] = precision_names(names["params"])["bits"]
        return names

    @cached_property
    def inventory(self) -> Inventory:
        """What size is counted over."""
        inventory = take_inventory(
            self.boxed, self.model.uses(self.outline.priced_lengths)
        )
        return dataclasses.replace(inventory, latency=self.latency)

    @cached_property
    def bits(self) -> Bits:
        """Bits of the units of each bit key."""
        start = self.run.quantize.start
        return self.given_bits or uniform_bits(self.inventory, start)

    @cached_property
    def sizes(self) -> dict[str, float]:
        """Sizes of the open model, by measure."""
        return measure_sizes(
            self.run.objective,
            self.inventory,
            self.bits,
            self.run.quantize.group_size,
            self.given_start_sizes or {},
        )

    @property
    def start_sizes(self) -> Mapping[str, float]:
        """Sizes of the model that the run started from, by measure."""
        return self.given_start_sizes or self.sizes

    @cached_property
    def strategy(self) -> Strategy:
        """What chooses the units to remove."""
        return get(self.run.objective.strategy)

    @property
    def targets_per_step(self) -> int:
        """Targets of a step, by which FLOPs per target are multiplied."""
        per_row = self.model.targets_per_row(self.outline.priced_lengths)
        return self.run.data.batch_size * per_row * self.task.passes

    @property
    def positions_per_step(self) -> int:
        """Positions that a step reads, in all towers."""
        rows = self.run.data.batch_size * self.task.passes
        return rows * self.outline.num_positions

    @cached_property
    def no_rounding(self) -> PyTree:
        """The precision that leaves weights as they are; None without rounding."""
        if not self.run.quantize.is_on:
            return None
        shapes, names = self.abstract_params["params"], self.names["params"]
        return uniform_precision(shapes, names, FULL)

    def size_fn(self, measure: str) -> SizeFn:
        """Returns the function from gates and bits to size in one measure."""
        group_size, start = self.run.quantize.group_size, self.start_sizes
        return make_size_fn(measure, self.inventory, group_size, start)

    def with_bits(self, bits: Bits) -> "Blueprint":
        """Returns the same shape with other bits."""
        start = self.start_sizes
        return dataclasses.replace(self, given_bits=bits, given_start_sizes=start)

    def after(self, params: PyTree, bits: Bits, *, learns_bits: bool) -> "Blueprint":
        """Returns the blueprint of what a cut leaves.

        Args:
            params: Weights that are left, or their shapes.
            bits: Bits of the units that are left.
            learns_bits: Whether their depths are learned from here on.
        """
        return dataclasses.replace(
            self.with_bits(bits),
            model=self.model.reshaped(params),
            learns_bits=learns_bits,
        )

    def architecture(self) -> Any:
        """Returns the layers as plain data, with the bits of their units."""
        bits = self.bits if self.run.quantize.is_on else None
        return self.model.architecture(bits)
