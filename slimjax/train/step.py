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
ErrorFn = Callable[[PyTree, PyTree], tuple[Float[Array, ""], Metrics]]


def make_train_step(
    error_fn: ErrorFn,
    tx: optax.GradientTransformation,
    *,
    accumulation_steps: int = 1,
    ema_decay: float = 0.0,
    sample_gates: Callable[..., PyTree] | None = None,
    guard: Guard | None = None,
) -> Callable[[TrainState, PyTree], tuple[TrainState, Metrics]]:
    """Builds ``train_step(state, batch) -> (state, metrics)``, ready for `jax.jit`.

    Args:
        error_fn: Pure map from (variables, batch) to (error, sums), the error being a
            mean, in nats a target.
        tx: Optimizer with the price inside, one group for weights and one for gates.
        accumulation_steps: Parts that a batch is cut into, one after the other; the
            gradient is the mean of theirs.
        ema_decay: Decay of the average of the weights, if the state has one.
        sample_gates: Map from (gates, step) to the gates with which a step computes,
            differentiable in the gates; None where they are the same.
        guard: Who tells bad steps from good ones; None for nobody, which costs nothing.
    """

    def take_grads(state: TrainState, batch: PyTree) -> tuple[PyTree, Metrics]:
        def error(params: PyTree, batch: PyTree) -> tuple[Array, Metrics]:
            return error_fn(dataclasses.replace(state, params=params).variables, batch)

        grad_fn: Any = jax.grad(error, has_aux=True)
        if accumulation_steps == 1:
            return grad_fn(state.params, batch)
        return grads_of_parts(grad_fn, state.params, batch)

    def deal(x: Array) -> Array:
        """Returns the parts of a batch, of which each device keeps its own rows."""
        return jnp.swapaxes(x.reshape(-1, accumulation_steps, *x.shape[1:]), 0, 1)

    def grads_of_parts(grad_fn: Any, params: PyTree, batch: PyTree) -> Any:
        def add_part(carry, part):
            return jax.tree.map(jnp.add, carry, grad_fn(params, part)), None

        parts = jax.tree.map(deal, batch)
        first = jax.tree.map(lambda x: x[0], parts)
        shapes = jax.eval_shape(grad_fn, params, first)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        (grads, sums), _ = jax.lax.scan(add_part, zeros, parts)
        return jax.tree.map(lambda g: g / accumulation_steps, grads), sums

    def train_step(state: TrainState, batch: PyTree) -> tuple[TrainState, Metrics]:
        if sample_gates is None:
            grads, sums = take_grads(state, batch)
        else:
            sample = partial(sample_gates, step=state.step)
            gates, pull_back = jax.vjp(sample, state.params["gates"])
            sampled = {**state.params, "gates": gates}
            grads, sums = take_grads(dataclasses.replace(state, params=sampled), batch)
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
