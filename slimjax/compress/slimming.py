"""One model made smaller: what may be made of it, and what is made of it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from slimjax.compress.bit_prices import price_bits, sides_of
from slimjax.compress.curves import Curve, make_curves
from slimjax.compress.levels import Levels
from slimjax.compress.moments import Moments
from slimjax.compress.offers import Catalogue, Choice
from slimjax.compress.refit import refit
from slimjax.compress.rows import Rows
from slimjax.compress.side import Side
from slimjax.compress.walk import Walk
from slimjax.errors import ConfigError
from slimjax.models.config import ModelConfig
from slimjax.nn.gates import is_width
from slimjax.nn.grids import Grid, Scales
from slimjax.nn.packing import key_in
from slimjax.nn.quantize import (
    FULL,
    bit_axis,
    is_matrix,
)
from slimjax.objective.inventory import Bits, Inventory, take_inventory, uniform_bits
from slimjax.objective.quantize import QuantizeConfig
from slimjax.objective.size import MEASURES, SizeFn, make_size_fn
from slimjax.resize.config import ResizeConfig
from slimjax.resize.plan import make_plan
from slimjax.resize.shrink import ANSWERS, cut, written_gate
from slimjax.trees import Path, axis_names, flatten, unflatten

Report = Callable[[str, float], None]
"""Called with what is done, and which part of it is."""


@dataclasses.dataclass(frozen=True)
class Material:
    """A model, and what is needed to make it smaller.

    Attributes:
        model: Its shape.
        variables: ``{"params": weights, "gates": gates}``, host arrays, gates open.
        inventory: What sizes are counted over.
        lengths: Positions of a row, by tower.
    """

    model: ModelConfig
    variables: PyTree
    inventory: Inventory
    lengths: Mapping[str, int]

    @property
    def weights(self) -> dict[Path, np.ndarray]:
        """The weights, by path."""
        return flatten(self.variables["params"])

    def sizes(self, bits: Bits | None = None, grid: Grid | int = 0) -> dict[str, float]:
        """Returns its size in all measures; with 16 bits everywhere by default."""
        bits = uniform_bits(self.inventory, FULL) if bits is None else bits
        gates = self.inventory.open_gates()
        fn = lambda name: make_size_fn(name, self.inventory, grid)
        return {name: float(fn(name)(gates, bits)) for name in MEASURES}


@dataclasses.dataclass(frozen=True)
class Slim(Material):
    """A model that was made smaller.

    Attributes:
        bits: Bits of its units.
        scales: Where the levels of the weights that were rounded lie, by path.
        choice: What was chosen.
    """

    bits: Bits
    scales: dict[Path, Scales]
    choice: Choice


def make_material(
    model: ModelConfig, variables: PyTree, lengths: Mapping[str, int]
) -> Material:
    """Returns a model with its inventory, for rows of some length.

    Args:
        model: Its shape.
        variables: Its variables.
        lengths: Positions of a row, by tower.
    """
    inventory = take_inventory(model.abstract_variables(), model.uses(lengths))
    variables = jax.tree.map(np.asarray, variables)
    return Material(model, variables, inventory, lengths)


def make_catalogue(
    material: Material,
    moments: Moments,
    measure: str,
    resize: ResizeConfig,
    quantize: QuantizeConfig,
    rows: Curve | None = None,
    size_fn: SizeFn | None = None,
    *,
    is_finer: bool = True,
    cut_factor: float = 1.0,
) -> Catalogue:
    """Returns all that may be made of a model.

    Args:
        material: The model.
        moments: Those of it.
        measure: What counts as size.
        resize: What may be removed, and what must stay.
        quantize: Bits to choose from, and elements that share a step.
        rows: The curve of the rows of the vocabulary; None where they all stay.
        size_fn: Another size, in place of the measure.
        is_finer: Whether matrices of one sublayer may have different bits.
        cut_factor: The part of what a cut of units costs that is left after healing.

    Raises:
        ConfigError: If channels of the residual stream may be removed.
    """
    if any(is_width(unit) for unit in resize.units):
        raise ConfigError(
            "config.resize.units: slimjax compress keeps the width of the residual "
            "stream. Leave 'embed' out."
        )
    inventory = material.inventory.with_row_gate() if rows else material.inventory
    grid = quantize.grid
    gates, states = inventory.open_gates(), tuple(sorted(quantize.bits, reverse=True))
    curves = make_curves(
        material.weights, gates, moments, resize.limits(cautious=False)
    )
    curves += [rows] if rows else []
    bit_nats = {}
    if rounds(quantize):
        bit_nats = price_bits(material.weights, inventory, moments, states, grid)
    size_fn = size_fn or make_size_fn(measure, inventory, grid)
    parts = inventory, curves, size_fn, states, bit_nats
    return Catalogue(*parts, is_finer=is_finer, cut_factor=cut_factor)


def rounds(quantize: QuantizeConfig) -> bool:
    """Whether weights get fewer bits than `FULL`."""
    return tuple(quantize.bits) != (FULL,)


class Cut(NamedTuple):
    """What is to be done to a model.

    Attributes:
        current: The original, or what is left of it so far.
        choice: What stays of it, and its bits.
        moments: Those of it: the token table is rounded by what its head reads.
    """

    current: Material
    choice: Choice
    moments: Moments


def slim_down(
    whole: Material,
    cuts: Sequence[Cut],
    rows: Rows,
    quantize: QuantizeConfig,
    report: Report = lambda *_: None,
) -> list[Slim]:
    """Cuts, refits and rounds models of one original.

    Args:
        whole: The original, which the results are to be near to.
        cuts: What is to be done, to each of them.
        rows: To refit on.
        quantize: Knows how many elements share a step.
        report: Called while it goes on.
    """
    sides = [close(cut_, quantize) for cut_ in cuts]
    refit(Walk(whole.model), whole.variables, sides, rows, report=report)
    return [finish(cut_, sides.pop(0)) for cut_ in cuts]


def close(job: Cut, quantize: QuantizeConfig) -> Side:
    """Returns a model in which what is to go is 0, and tables are rounded.

    It has the shape that it had, so that all choices share their compiled programs.

    Args:
        job: The model, and what is to be done to it.
        quantize: Knows whether weights are rounded, and how many elements share a step.
    """
    model, inventory = job.current.model, job.current.inventory
    names, gates = axis_names(model.abstract_variables())["params"], job.choice.gates
    axes, plan = flatten(names), make_plan(gates)
    weights = {
        path: np.array(weight * written_gate(path, weight.shape, axes[path], gates))
        for path, weight in job.current.weights.items()
    }
    params, levels = unflatten(weights), None
    if rounds(quantize):
        bits = kept_bits(params, names, job.choice.bits)
        kept = lambda path, shape: plan.indices(path, shape, axes[path])
        levels = Levels(axes, bits, quantize.grid, kept=kept)
        params = round_tables(params, inventory, levels, job.moments)
    variables = {"params": params, "gates": job.current.variables["gates"]}
    return Side(Walk(model), variables, levels, gone=plan.gone)


def finish(job: Cut, side: Side) -> Slim:
    """Returns a refitted model without what was closed.

    Args:
        job: What was to be done.
        side: The model after it.
    """
    model, plan = side.walk.model, make_plan(job.choice.gates)
    boxed = axis_names(model.abstract_variables())
    found = {} if side.rounder is None else side.rounder.scales
    scales = {path: own for path, own in found.items() if not plan.drops(path)}
    params = cut(side.variables["params"], boxed["params"], plan)
    gates = cut(side.variables["gates"], boxed["gates"], plan)
    model = model.reshaped(params)
    names = axis_names(model.abstract_variables())["params"]
    bits = kept_bits(params, names, job.choice.bits)
    lengths = job.current.lengths
    inventory = take_inventory(model.abstract_variables(), model.uses(lengths))
    variables = {"params": params, "gates": jax.tree.map(np.ones_like, gates)}
    material = model, variables, inventory, lengths
    return Slim(*material, bits, scales, job.choice)


def kept_bits(params: PyTree, names: PyTree, chosen: Bits) -> Bits:
    """Returns the bits of the units that are left; vectors keep `FULL` ones."""
    bits, weights = {}, flatten(params)
    for path, axes in flatten(names).items():
        axis, key = bit_axis(axes), key_in(chosen, path, axes)
        num_units = 1 if axis is None else weights[path].shape[axis]
        own = chosen[key][0] if is_matrix(axes) else FULL
        bits[key] = np.full(num_units, own, np.int32)
    return bits


def round_tables(
    params: PyTree, inventory: Inventory, levels: Levels, moments: Moments
) -> PyTree:
    """Returns weights in which tables of tokens, and of heads, are rounded."""
    flat = dict(flatten(params))
    for leaf in inventory.leaves:
        if leaf.axes[0] in ANSWERS and is_matrix(leaf.axes):
            moment, _ = sides_of(leaf, moments)
            if moment is not None:
                table = flat[leaf.path]
                flat[leaf.path] = levels.round_table(leaf.path, table, moment)
    return unflatten(flat)
