"""What the optimizer knows of the price: sizes, budgets, and gates that stay."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from slimjax.budget.depths import make_depth_size_fn
from slimjax.budget.limits import LAYER, Limits
from slimjax.budget.units import list_units
from slimjax.nn.depths import DEPTHS
from slimjax.nn.gates import SUBLAYER
from slimjax.objective.config import ObjectiveConfig
from slimjax.objective.inventory import Inventory
from slimjax.resize.config import ResizeConfig
from slimjax.strategies.base import StepContext
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import RunConfig
from slimjax.train.schedules import make_schedule
from slimjax.trees import Path, unflatten


def make_step_context(blueprint: Blueprint) -> StepContext:
    """Returns what a strategy may use inside the steps of a blueprint."""
    run, objective = blueprint.run, blueprint.run.objective
    parts = budget_parts(objective, blueprint.start_sizes)
    least = min(parts.values(), default=1.0)
    size_fns = {measure: blueprint.size_fn(measure) for measure in objective.measures}

    def tightest(sizes: dict[str, Any]) -> Any:
        """The size beside its budget, of the measure whose budget is tightest."""
        beside = lambda name: size_as_part(name) * (least / parts[name])
        size_as_part = lambda name: sizes[name] / blueprint.start_sizes[name]
        return functools.reduce(jnp.maximum, map(beside, sizes))

    def size_fn(variables: PyTree) -> Any:
        gates = variables["gates"]
        bits = blueprint.bits
        return tightest({name: fn(gates, bits) for name, fn in size_fns.items()})

    depth_size_fns = {
        name: make_depth_size_fn(name, fn, blueprint.inventory, run.quantize.group_size)
        for name, fn in size_fns.items()
        if blueprint.learns_bits
    }

    def depth_size_fn(variables: PyTree) -> Any:
        depths = variables[DEPTHS]
        return tightest({name: fn(depths) for name, fn in depth_size_fns.items()})

    return StepContext(
        objective=objective,
        inventory=blueprint.inventory,
        size_fn=size_fn,
        budget_schedule=_budget_schedule(run, least),
        learning_rate=make_schedule(run.optim, run.train.num_steps),
        peak_learning_rate=run.optim.learning_rate,
        depth_size_fn=depth_size_fn,
        limits=run.resize.limits(cautious=False),
        quantize=run.quantize,
    )


def budget_parts(
    objective: ObjectiveConfig, start_sizes: Mapping[str, float]
) -> dict[str, float]:
    """Returns the budget of each priced measure, as a part of the start's size."""
    if not objective.has_budget:
        return dict.fromkeys(objective.measures, 1.0)
    sizes = objective.budget_sizes(start_sizes)
    return {measure: size / start_sizes[measure] for measure, size in sizes.items()}


def prices_by_measure(blueprint: Blueprint, alpha: float) -> dict[str, float]:
    """Returns the price of each measure where steps price the tightest budget alone.

    Args:
        blueprint: The model as it is.
        alpha: The price of the size that is tightest, beside its budget.
    """
    parts = budget_parts(blueprint.run.objective, blueprint.start_sizes)
    least = min(parts.values())
    now = {name: blueprint.sizes[name] / blueprint.start_sizes[name] for name in parts}
    tightest = max(parts, key=lambda name: now[name] / parts[name])
    own = alpha * (least / parts[tightest])
    return {name: own if name == tightest else 0.0 for name in parts}


def unmoved_gates(resize: ResizeConfig, inventory: Inventory) -> PyTree:
    """Returns True for gates that stay at 1, whatever the strategy."""
    limits = resize.limits(cautious=False)
    may_go = _removable(inventory, limits)
    goes = lambda path: path[-1] != SUBLAYER or path in may_go
    moves = lambda path: limits.may_move(path) and goes(path)
    return unflatten({path: not moves(path) for path in inventory.gates})


def _removable(inventory: Inventory, limits: Limits) -> set[Path]:
    """Returns the gates of sublayers that may go, alone or with their layer."""
    whole = tuple(kind for kind in limits.units if kind in (SUBLAYER, LAYER))
    free = {path: np.zeros(shape) for path, shape in inventory.gates.items()}
    units = list_units(inventory, free, dataclasses.replace(limits, units=whole))
    return {
        units.sublayers[i].path
        for layer in units.layers
        for i in layer.sublayers
        if layer.is_removable or units.sublayers[i].is_removable
    }


def _budget_schedule(run: RunConfig, part: float) -> optax.Schedule | None:
    """Returns the largest part of the start's size, falling until the last seam.

    From seam to seam it falls in even ratios, as the budgets of the seams do.
    """
    if not run.objective.has_budget:
        return None
    steps = np.array([0, *run.seam_steps], np.float32)
    shares = np.linspace(0.0, 1.0, len(steps), dtype=np.float32)
    return lambda step: part ** jnp.interp(jnp.float32(step), steps, shares)
