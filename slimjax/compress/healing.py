"""Healing: a cut model learns from the original alone, not from the text.

    min  KL(original || student),    mean over the targets that count

or half the squared distance of vectors, where a model gives these,
so that it cannot look better than the original by learning what the text is about. The
token table is frozen; Adam's moments are bfloat16, with a short memory of squares, of
which bfloat16 can hold the changes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from slimjax.compress.config import HealConfig
from slimjax.compress.losses import divergence
from slimjax.compress.rows import Rows
from slimjax.models.config import ModelConfig
from slimjax.trees import flatten, unflatten

DECAYS = (0.9, 0.95)
"""Memory of the means of gradients, and of their squares."""

EPSILON = 1e-8
TOKENS = 2048
"""Positions of a step."""

USUAL = HealConfig()


class SmallMoments(NamedTuple):
    """Adam's moments in bfloat16."""

    num_seen: Array
    mean: PyTree
    square: PyTree


def scale_by_small_adam() -> optax.GradientTransformation:
    """Returns Adam's scaling, whose moments are kept in bfloat16.

    References:
        Kingma and Ba, "Adam", 2015, algorithm 1.
    """

    def init_fn(params: PyTree) -> SmallMoments:
        zeros = lambda: jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.bfloat16), params)
        return SmallMoments(jnp.zeros([], jnp.int32), zeros(), zeros())

    def update_fn(updates, state, params=None):
        del params
        first, second = DECAYS
        count = state.num_seen + 1
        mix = lambda decay, old, new: (
            decay * old.astype(jnp.float32) + (1 - decay) * new
        )
        mean = jax.tree.map(lambda m, g: mix(first, m, g), state.mean, updates)
        square = jax.tree.map(lambda s, g: mix(second, s, g * g), state.square, updates)
        scales = 1 - first**count, 1 - second**count
        move = lambda m, s: m / scales[0] / (jnp.sqrt(s / scales[1]) + EPSILON)
        small = lambda tree: jax.tree.map(lambda x: x.astype(jnp.bfloat16), tree)
        moved = jax.tree.map(move, mean, square)
        return moved, SmallMoments(count, small(mean), small(square))

    return optax.GradientTransformation(init_fn, update_fn)


def heal(
    whole: ModelConfig,
    variables: PyTree,
    slim: ModelConfig,
    slim_variables: PyTree,
    rows: Rows,
    num_steps: int,
    healing: HealConfig = USUAL,
    seed: int = 0,
    report: Callable[[str, float], None] = lambda *_: None,
) -> tuple[PyTree, list[float]]:
    """Returns the cut model's variables after some steps, and the loss of each step.

    Args:
        whole: The original's shape.
        variables: Its variables.
        slim: The cut model's shape.
        slim_variables: Its variables.
        rows: Text; each row comes once before any comes again.
        num_steps: Number of steps.
        healing: Learning rate and warm-up.
        seed: Of the order of rows.
        report: Called while it goes on.
    """
    tx = optax.chain(
        optax.clip_by_global_norm(1.0),
        scale_by_small_adam(),
        optax.scale_by_learning_rate(_rates(healing, num_steps)),
    )
    params, frozen = _divide(slim_variables["params"])
    step = _make_step(whole, slim, tx)
    variables = jax.tree.map(jnp.asarray, variables)
    gates = jax.tree.map(jnp.asarray, slim_variables["gates"])
    params, state, losses = jax.tree.map(jnp.asarray, params), tx.init(params), []
    size, source = count_rows(rows), np.random.default_rng(seed)
    order = np.zeros(0, int)
    for number in range(num_steps):
        while len(order) < size:
            order = np.append(order, source.permutation(rows.num_rows))
        batch, order = rows.at(order[:size]), order[size:]
        batch = dict(batch.inputs), batch.weights
        params, state, loss = step(params, frozen, gates, state, variables, batch)
        losses.append(float(loss))
        report("healing", (number + 1) / num_steps)
    healed = {**flatten(jax.device_get(params)), **flatten(frozen)}
    return {"params": unflatten(healed), "gates": slim_variables["gates"]}, losses


def count_rows(rows: Rows) -> int:
    """Returns the rows of a step."""
    return max(1, TOKENS // rows.length)


def _rates(healing: HealConfig, num_steps: int) -> optax.Schedule:
    """Returns the learning rate of each step: a rise, then half a cosine."""
    peak, rise = healing.learning_rate, healing.rise(num_steps)
    end = max(num_steps, rise + 1)
    return optax.warmup_cosine_decay_schedule(0.0, peak, rise, end)


def _divide(params: PyTree) -> tuple[PyTree, PyTree]:
    """Returns the weights that learn, and those that are frozen: tables of tokens."""
    flat = flatten(params)
    is_table = lambda path: path[-1] == "embedding"
    learning = {path: leaf for path, leaf in flat.items() if not is_table(path)}
    frozen = {path: leaf for path, leaf in flat.items() if is_table(path)}
    return unflatten(learning), unflatten(frozen)


def _make_step(
    whole: ModelConfig, slim: ModelConfig, tx: optax.GradientTransformation
) -> Callable[..., Any]:
    teacher, student = whole.module(), slim.module()
    head = whole.heads[0]

    @jax.jit
    def step(params, frozen, gates, state, variables, batch):
        inputs, weights = batch
        known = jax.lax.stop_gradient(teacher.apply(variables, inputs)[head.name])

        def loss_of(params):
            own = unflatten({**flatten(params), **flatten(frozen)})
            readouts = student.apply({"params": own, "gates": gates}, inputs)
            each = divergence(head, known, readouts[head.name])
            return jnp.sum(each * weights) / jnp.maximum(jnp.sum(weights), 1)

        loss, slopes = jax.value_and_grad(loss_of)(params)
        updates, state = tx.update(slopes, state, params)
        return optax.apply_updates(params, updates), state, loss

    return step
