"""Error: the one place that weighs losses, sums them and divides by their number.

The formulas of the losses stand in `slimjax.nn`.
"""

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from slimjax.models.config import ModelConfig
from slimjax.models.head import HeadConfig
from slimjax.nn.losses import binary_nats, gaussian_nats
from slimjax.nn.readout import Readout
from slimjax.tasks.base import Readouts, Targets, Task

Sums = dict[str, Float[Array, ""]]
ErrorFn = Callable[..., tuple[Float[Array, ""], Sums]]
"""(variables, batch, key) -> (mean nats a target, sums that add up over batches)."""


def make_error_fn(
    task: Task, model: ModelConfig, *, label_smoothing: float = 0.0, z_loss: float = 0.0
) -> ErrorFn:
    """Returns the function from (variables, batch, key) to (error, sums).

    The error is the mean loss of a target, in nats. Sums are ``nats_sum``, the bare
    losses of all targets, and ``num_targets``.

    Args:
        task: What is to be answered.
        model: The shape of the model.
        label_smoothing: See `slimjax.nn.cross_entropy.Scores.loss`.
        z_loss: See there.
    """
    network = model.module()

    def error_fn(
        variables: PyTree, batch: PyTree, key: Array | None = None
    ) -> tuple[Array, Sums]:
        data_key, model_key = split_key(key)
        readouts = network.apply(variables, task.inputs(batch, data_key), model_key)
        targets = task.targets(batch, data_key)
        losses, nats = losses_of(
            model.heads, readouts, targets, label_smoothing, z_loss
        )
        weight = {name: target.weight for name, target in targets.items()}
        num_targets = _total({name: jnp.ones(()) for name in weight}, weight)
        error = _total(losses, weight) / jnp.maximum(num_targets, 1.0)
        return error, {"nats_sum": _total(nats, weight), "num_targets": num_targets}

    return error_fn


def make_outputs_fn(
    task: Task, model: ModelConfig
) -> Callable[[PyTree, PyTree], dict[str, Float[Array, " B"]]]:
    """Returns the function from (variables, batch) to what is kept of each row.

    ``nats`` is the loss of a row's targets and ``targets`` their number; the task's own
    outputs come beside. Rows are summed one by one, so that a sum does not depend on
    the rows or devices beside it.
    """
    network = model.module()

    def outputs_fn(variables: PyTree, batch: PyTree) -> dict[str, Array]:
        readouts = network.apply(variables, task.inputs(batch, None))
        targets = task.targets(batch, None)
        nats = losses_of(model.heads, readouts, targets)[1]
        rows = [_by_row(nats[n] * t.weight) for n, t in targets.items()]
        counts = [_by_row(t.weight) for t in targets.values()]
        own = task.outputs(readouts, batch)
        return {"nats": reduce(add, rows), "targets": reduce(add, counts), **own}

    return outputs_fn


def losses_of(
    heads: tuple[HeadConfig, ...],
    readouts: Readouts,
    targets: Mapping[str, Targets],
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns what is descended and the bare nats of each target, ``[*batch]``."""
    losses, nats = {}, {}
    for head in heads:
        if head.name not in targets:
            continue
        readout, values = readouts[head.name], targets[head.name].values
        if head.loss == "classes":
            scores = readout.scores(values)
            losses[head.name] = scores.loss(label_smoothing, z_loss)
            nats[head.name] = scores.nats
        else:
            nats[head.name] = losses[head.name] = _plain_nats(head, readout, values)
    return losses, nats


def split_key(key: Array | None) -> tuple[Array | None, Array | None]:
    """Returns a key for the data and one for the model; None of None."""
    if key is None:
        return None, None
    return jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)


def _plain_nats(head: HeadConfig, readout: Readout, values: Array) -> Array:
    logits = readout.logits()
    if head.loss == "binary":
        return binary_nats(logits, values)
    return gaussian_nats(logits[..., 0], values, head.variance)


def _total(values: Mapping[str, Array], weights: Mapping[str, Array]) -> Any:
    """Returns the weighted sum of the values of all heads."""
    return reduce(add, (jnp.sum(values[n] * w) for n, w in weights.items()))


def _by_row(x: Float[Array, "B ..."]) -> Float[Array, " B"]:
    return jnp.sum(x.reshape(len(x), -1), axis=1)
