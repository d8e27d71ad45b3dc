"""One training step: a state and a batch in, the next state and metrics out."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from slimjax.train.adamw import apply_updates, global_norm
from slimjax.train.guard import Guard
from slimjax.train.state import TrainState

Metrics = dict[str, Float[Array, ""]]
ErrorFn = Callable[[PyTree, PyTree, Array | None], tuple[Float[Array, ""], Metrics]]
GradFn = Callable[[TrainState, PyTree, Array | None], tuple[PyTree, Metrics]]


def make_train_step(
    error_fn: ErrorFn,
    tx: optax.GradientTransformation,
    *,
    accumulation_steps: int = 1,
    ema_decay: float = 0.0,
    sample_gates: Callable[..., PyTree] | None = None,
    guard: Guard | None = None,
    key_of: Callable[[Array], Array] | None = None,
) -> Callable[[TrainState, PyTree], tuple[TrainState, Metrics]]:
    """Builds ``train_step(state, batch) -> (state, metrics)``, ready for `jax.jit`.

    Args:
        error_fn: Pure map from (variables, batch, key) to (error, sums), the error
            being a mean, in nats per target.
        tx: Optimizer with the price inside, one group for weights and one for gates.
        accumulation_steps: Parts that a batch is cut into, one after the other; the
            gradient is the mean of theirs, weighed by their targets.
        ema_decay: Decay of the average of the weights, if the state has one.
        sample_gates: Map from (gates, step) to the gates with which a step computes,
            differentiable in the gates; None where they are the same.
        guard: What detects bad steps; None for no check, which costs nothing.
        key_of: Map from the step's number to its key; None where nothing is random.
    """
    take_grads = make_grad_fn(error_fn, accumulation_steps)

    def train_step(state: TrainState, batch: PyTree) -> tuple[TrainState, Metrics]:
        key = None if key_of is None else key_of(state.step)
        if sample_gates is None:
            grads, sums = take_grads(state, batch, key)
        else:
            sample = partial(sample_gates, step=state.step)
            gates, pull_back = jax.vjp(sample, state.params["gates"])
            params = {**state.params, "gates": gates}
            sampled = dataclasses.replace(state, params=params)
            grads, sums = take_grads(sampled, batch, key)
            grads = {**grads, "gates": pull_back(grads["gates"])[0]}
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params: Any = apply_updates(state.params, updates)
        ema = state.ema
        if ema is not None:
            ema = optax.incremental_update(params["params"], ema, 1 - ema_decay)
        step, precision, health = state.step + 1, state.precision, state.health
        next_state = TrainState(step, params, opt_state, ema, precision, health)
        metrics = sums | {"grad_norm": global_norm(grads["params"])}
        if guard is None or health is None:
            return next_state, metrics
        gate_norm = optax.tree.norm(grads["gates"])
        return guard.check(state, next_state, metrics, gate_norm)

    return train_step


def make_grad_fn(error_fn: ErrorFn, accumulation_steps: int) -> GradFn:
    """Returns the function from (state, batch, key) to gradients and sums.

    A part counts as its targets do, so the gradients are those of the whole batch.

    Args:
        error_fn: Map from (variables, batch, key) to (error, sums).
        accumulation_steps: Parts that a batch is cut into.
    """

    def deal(x: Array) -> Array:
        """Returns the parts of a batch, of which each device keeps its own rows."""
        return jnp.swapaxes(x.reshape(-1, accumulation_steps, *x.shape[1:]), 0, 1)

    def grads_of_parts(grad_fn: Any, params: PyTree, batch: PyTree, key: Any) -> Any:
        def add_part(carry, part):
            number, rows = part
            own = None if key is None else jax.random.fold_in(key, number)
            grads, sums = grad_fn(params, rows, own)
            grads = jax.tree.map(lambda g: g * sums["num_targets"], grads)
            return jax.tree.map(jnp.add, carry, (grads, sums)), None

        parts = jax.tree.map(deal, batch)
        first = jax.tree.map(lambda x: x[0], parts)
        shapes = jax.eval_shape(grad_fn, params, first, key)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        numbers = None if key is None else jnp.arange(accumulation_steps)
        (grads, sums), _ = jax.lax.scan(add_part, zeros, (numbers, parts))
        num_targets = jnp.maximum(sums["num_targets"], 1.0)
        return jax.tree.map(lambda g: g / num_targets, grads), sums

    def take_grads(state: TrainState, batch: PyTree, key: Any) -> Any:
        def error(params: PyTree, rows: PyTree, key: Any) -> tuple[Array, Metrics]:
            variables = dataclasses.replace(state, params=params).variables
            return error_fn(variables, rows, key)

        grad_fn: Any = jax.grad(error, has_aux=True)
        if accumulation_steps == 1:
            return grad_fn(state.params, batch, key)
        return grads_of_parts(grad_fn, state.params, batch, key)

    return take_grads
