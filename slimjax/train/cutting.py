"""Cutting a state: closed units are folded, stood in for, and cut out of all arrays."""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from slimjax.budget.depths import depths_of
from slimjax.budget.units import Gates
from slimjax.distill.peer import PEER
from slimjax.nn.axes import is_spread, numpy_of, to_host
from slimjax.nn.depths import DEPTHS
from slimjax.nn.quantize import precision_names
from slimjax.objective.inventory import Bits
from slimjax.resize.carry import carry_state, fold_moments
from slimjax.resize.least_squares import refit
from slimjax.resize.plan import Change
from slimjax.resize.shrink import cut, fold
from slimjax.strategies.base import host_gates
from slimjax.train.precision import cut_precision
from slimjax.train.probe import moments_flops
from slimjax.train.rounding import round_state
from slimjax.train.stage import Stage, make_stage
from slimjax.train.state import TrainState
from slimjax.trees import flatten, unflatten


def refit_state(
    stage: Stage,
    state: TrainState,
    closed: Gates,
    make_batch: Callable[[int], PyTree],
) -> tuple[TrainState, float]:
    """Refits what stays so that it replaces what is removed.

    The average of the weights, where one is kept, is what is packed in the end. It is
    refitted too, by itself: to what it computes on the same batches.

    Returns:
        The state with refitted weights, and the FLOPs that were spent.
    """
    if not stage.blueprint.run.resize.refit_batches:
        return state, 0.0
    fit = partial(_refit_weights, stage, state.params, closed, make_batch)
    weights, flops = fit(state.params["params"])
    average = state.ema
    if average is not None:
        average, more = fit(average)
        flops += more
    params = {**state.params, "params": weights}
    return dataclasses.replace(state, params=params, ema=average), flops


def _refit_weights(
    stage: Stage,
    params: PyTree,
    closed: Gates,
    make_batch: Callable[[int], PyTree],
    weights: PyTree,
) -> tuple[PyTree, float]:
    """Returns refitted weights, and the FLOPs of measuring what they compute."""
    blueprint, total = stage.blueprint, None
    num_batches = blueprint.run.resize.refit_batches
    variables = {**params, "params": weights}
    for i in range(num_batches):
        moments = stage.programs.moments(stage.place(variables), make_batch(i))
        total = moments if total is None else jax.tree.map(jnp.add, total, moments)
    flops = num_batches * moments_flops(blueprint, total)
    current, names = host_gates(params["gates"]), blueprint.names["params"]
    return refit(weights, names, current, closed, to_host(total)), flops


def cut_state(
    stage: Stage,
    state: TrainState,
    closed: Gates,
    plan: Change,
    bits: Bits | None = None,
    *,
    learns_bits: bool = False,
) -> tuple[Stage, TrainState]:
    """Folds the gates, cuts what is closed out of everything, and opens the rest.

    Depths that were learned are fixed.

    Args:
        stage: The stage that ends.
        state: Its last state.
        closed: Gates with which the model is to be equal, 0 for what goes.
        plan: What stays; a unit that is closed may stay, for the time being.
        bits: Bits of the units before the cut; None for those that they have.
        learns_bits: Whether the next stage goes on to learn depths.
    """
    blueprint, run = stage.blueprint, stage.blueprint.run
    names = blueprint.names
    gates = {path: np.asarray(gate, np.float32) for path, gate in closed.items()}
    unstacked = jax.eval_shape(stage.layout.unstack, state.params)
    shapes = jax.eval_shape(partial(_cut_params, names, plan), unstacked, gates)
    of_bits = precision_names(names["params"])["bits"]
    kept_bits = flatten(cut(unflatten(dict(bits or blueprint.bits)), of_bits, plan))
    if plan.is_empty and blueprint.learns_bits == learns_bits:
        next_stage = stage.with_bits(kept_bits)
    else:
        weights = shapes["params"]
        following = blueprint.after(weights, kept_bits, learns_bits=learns_bits)
        next_stage = make_stage(following, stage.mesh, stage.teacher)
    depths = {DEPTHS: depths_of(kept_bits)} if learns_bits else {}
    if state.precision is not None:
        weights, group_size = state.params["params"], run.quantize.group_size
        levels = to_host(state.precision)
        levels = cut_precision(levels, weights, names["params"], plan, group_size)
        state = dataclasses.replace(state, precision=levels)

    def transform(state: TrainState, gates: PyTree) -> TrainState:
        state = stage.layout.unstack(state)
        params = _cut_params(names, plan, state.params, gates) | depths
        moments = fold_moments(state.opt_state, names, gates)
        average = {**state.params, "params": state.ema}
        following = dataclasses.replace(
            state,
            params=params,
            opt_state=carry_state(next_stage.tx, moments, params, names, plan, (PEER,)),
            ema=state.ema and _cut_params(names, plan, average, gates)["params"],
            health=run.train.guard.start(),
        )
        return next_stage.layout.stack(following)

    if is_spread(state):
        places = next_stage.state_sharding
        with jax.set_mesh(stage.mesh):
            next_state = jax.jit(transform, out_shardings=places)(state, gates)
    else:
        next_state = next_stage.place(transform(jax.device_get(state), gates))
    return next_stage, round_state(next_stage, next_state)


def _cut_params(names: PyTree, plan: Change, params: PyTree, gates: PyTree) -> PyTree:
    """Returns weights with the gates in them, open gates, and maps, all of them cut."""
    folded = {**params, "params": fold(params["params"], names["params"], gates)}
    kinds = [k for k in params if k not in (DEPTHS, PEER)]  # Depths begin anew.
    kept = {kind: cut(folded[kind], names[kind], plan) for kind in kinds}
    kept |= {PEER: params[PEER]} if PEER in params else {}
    ones = lambda gate: numpy_of(gate).ones_like(gate)
    return kept | {"gates": jax.tree.map(ones, kept["gates"])}
