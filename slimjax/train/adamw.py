"""AdamW, and arithmetic over all weights at once.

On one CPU each of them is one native call, whatever the number of arrays: nothing is
left for the compiler to do, whose time grew with each array, and memory is passed once.
Elsewhere, and for what is not float32, they are Optax's own.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from slimjax import native
from slimjax.native import optimizer_calls

EPSILON = 1e-8
"""What keeps Adam's divisor away from zero."""


def adamw(
    rate: optax.Schedule,
    *,
    beta1: float,
    beta2: float,
    weight_decay: float,
    clip_norm: float,
    decays: Callable[[PyTree], PyTree],
) -> optax.GradientTransformation:
    """Returns AdamW with clipping: the state and the numbers of a chain of Optax.

    Args:
        rate: Learning rate by step.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        weight_decay: Decoupled, scaled by the learning rate.
        clip_norm: Largest global norm of the gradients; 0 for no limit.
        decays: Tells, of a tree of weights, which of them decay.

    References:
        Kingma and Ba, "Adam", 2015, algorithm 1.
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019,
        algorithm 2.
    """
    links = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    plain = optax.chain(
        *links,
        optax.scale_by_adam(b1=beta1, b2=beta2, eps=EPSILON),
        optax.add_decayed_weights(weight_decay, mask=decays),
        optax.scale_by_learning_rate(rate),
    )

    def update(updates: PyTree, state: Any, params: PyTree = None) -> Any:
        leaves, tree = jax.tree.flatten(updates)
        if not _by_kernel(leaves):
            return plain.update(updates, state, params)
        *clip, adam, decay, schedule = state
        step = optax.safe_increment(adam.count)
        norm = jnp.sqrt(optimizer_calls.square_sum(leaves))
        factors = [
            jnp.where(norm < clip_norm, 1.0, clip_norm / norm) if clip_norm else 1.0,
            1 / (1 - beta1**step),
            1 / (1 - beta2**step),
            -jnp.asarray(rate(schedule.count)),
        ]
        weights = jax.tree.leaves(params)
        outs = optimizer_calls.adam(
            jnp.stack([jnp.asarray(factor, jnp.float32) for factor in factors]),
            leaves,
            (jax.tree.leaves(adam.mu), jax.tree.leaves(adam.nu)),
            weights,
            [
                weight_decay * is_decayed
                for is_decayed in jax.tree.leaves(decays(params))
            ],
            **dict(beta1=beta1, beta2=beta2, epsilon=EPSILON),
        )
        updates, mean, square = (jax.tree.unflatten(tree, part) for part in outs)
        adam = optax.ScaleByAdamState(step, mean, square)
        schedule = schedule._replace(count=optax.safe_increment(schedule.count))
        return updates, (*clip, adam, decay, schedule)

    return optax.GradientTransformation(plain.init, update)


def global_norm(tree: PyTree) -> Float[Array, ""]:
    """Returns the root of the sum of all squares."""
    leaves = jax.tree.leaves(tree)
    if _by_kernel(leaves):
        return jnp.sqrt(optimizer_calls.square_sum(leaves))
    return optax.tree.norm(tree)


def apply_updates(params: PyTree, updates: PyTree) -> PyTree:
    """Returns ``params + updates``, both by collection: weights, gates and the like."""
    left, right = jax.tree.leaves(params["params"]), jax.tree.leaves(updates["params"])
    if not _by_kernel([*left, *right]):
        return optax.apply_updates(params, updates)
    rest = {kind: tree for kind, tree in params.items() if kind != "params"}
    moved: Any = optax.apply_updates(rest, {kind: updates[kind] for kind in rest})
    sums = jax.tree.unflatten(
        jax.tree.structure(params["params"]), optimizer_calls.add(left, right)
    )
    return {**moved, "params": sums}


def _by_kernel(leaves: list[Any]) -> bool:
    """Whether there are kernels for these arrays, on the platform of the program."""
    are_floats = all(leaf.dtype == jnp.float32 for leaf in leaves)
    return bool(leaves) and are_floats and native.is_enabled()
