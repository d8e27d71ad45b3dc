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
from slimjax.nn.losses import (
    binary_terms,
    contrast_nats,
    focal_factor,
    gaussian_nats,
    position_nats,
)
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

    Examples:
        The textbook's perceptron: inputs [1, 2], two hidden and two output units,
        sigmoid, targets [0.1, 0.9], and binary cross entropy summed over the outputs.

        >>> from slimjax.models import recipes
        >>> head = HeadConfig("answer", 2, at="first", loss="binary", bias=True)
        >>> model = recipes.mlp(2, 2, heads=(head,), activation="sigmoid")
        >>> a0, t = jnp.array([1.0, 2.0]), jnp.array([0.1, 0.9])
        >>> task = Task(
        ...     name="textbook",
        ...     heads=lambda sizes: (head,),
        ...     inputs=lambda batch, key: {"features": batch["x"]},
        ...     targets=lambda batch, key: {"answer": Targets(batch["t"], jnp.ones(1))},
        ...     metrics=(),
        ... )
        >>> W1, b1 = jnp.array([[0.1, 0.2], [0.3, -0.4]]), jnp.array([0.5, -0.6])
        >>> W2, b2 = jnp.array([[0.7, -0.8], [0.9, 1.1]]), jnp.array([-1.2, 0.25])

        The textbook writes z = W a + b. The kernel that reads features is W transposed,
        ``[inputs, units]``; the table of a head is W itself, ``[outputs, units]``.

        >>> stem = {"kernel": W1.T, "bias": b1[None]}
        >>> params = {"features": stem, "answer_head": {"table": W2, "bias": b2}}
        >>> variables = {"params": params, "gates": {"mlp": jnp.ones(2)}}
        >>> error_fn = make_error_fn(task, model)
        >>> batch = {"x": a0[None], "t": t[None]}
        >>> (loss, _), slopes = jax.value_and_grad(error_fn, has_aux=True)(
        ...     variables, batch
        ... )

        The formulas, for one row: the gradient of W is dz a^T.

        >>> a1 = jax.nn.sigmoid(W1 @ a0 + b1)
        >>> a2 = jax.nn.sigmoid(W2 @ a1 + b2)
        >>> by_hand = -jnp.sum(t * jnp.log(a2) + (1 - t) * jnp.log(1 - a2))
        >>> dz2 = a2 - t
        >>> dz1 = W2.T @ dz2 * a1 * (1 - a1)
        >>> close = lambda a, b: bool(jnp.abs(a - b).max() <= 1e-6)
        >>> close(loss, by_hand)
        True
        >>> dW1 = slopes["params"]["features"]["kernel"].T
        >>> dW2 = slopes["params"]["answer_head"]["table"]
        >>> close(dW1, jnp.outer(dz1, a0)), close(dW2, jnp.outer(dz2, a1))
        (True, True)

        One step of gradient descent with a learning rate of 0.5:

        >>> stepped = jax.tree.map(lambda w, g: w - 0.5 * g, params, slopes["params"])
        >>> close(stepped["features"]["bias"][0], b1 - 0.5 * dz1)
        True
        >>> close(stepped["answer_head"]["table"], W2 - 0.5 * jnp.outer(dz2, a1))
        True
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


KEPT = "kept."
"""Begins the names of what is kept for answers."""

BY_POSITION = f"{KEPT}nats_by_position"
"""The loss of each token of a row, ``[B T]``; see `Task.target_at`."""

NO_TARGET = -1.0
"""What stands there for a token that is no target."""


def make_outputs_fn(
    task: Task, model: ModelConfig
) -> Callable[[PyTree, PyTree], dict[str, Float[Array, "B ..."]]]:
    """Returns the function from (variables, batch) to what is kept of each row.

    ``nats`` is the loss of a row's targets and ``targets`` their number; the task's own
    outputs come beside, and what it keeps for answers, by names that begin with `KEPT`.
    Rows are summed one by one, so that a sum does not depend on the rows or devices
    beside it.
    """
    network = model.module()

    def outputs_fn(variables: PyTree, batch: PyTree) -> dict[str, Array]:
        readouts = network.apply(variables, task.inputs(batch, None))
        targets = task.targets(batch, None)
        nats = losses_of(model.heads, readouts, targets)[1]
        weighed = {n: nats[n] * t.weight for n, t in targets.items()}
        rows = [_by_row(each) for each in weighed.values()]
        counts = [_by_row(t.weight) for t in targets.values()]
        own = {**task.outputs(readouts, batch)}
        if task.predict is not None:
            kept = task.predict(readouts, batch)
            own = {**own, **{KEPT + name: array for name, array in kept.items()}}
        if task.target_at is not None:
            (name,) = targets
            own[BY_POSITION] = _by_token(nats[name], targets[name], task.target_at)
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
            losses[head.name], nats[head.name] = _class_losses(
                head, readout, targets[head.name], label_smoothing, z_loss
            )
        elif head.loss == "binary":
            terms = binary_terms(readout.logits(), values)
            losses[head.name] = jnp.sum(_weighed(head, terms, terms), axis=-1)
            nats[head.name] = jnp.sum(terms, axis=-1)
        elif head.loss == "positions":
            is_open = targets[head.name].is_open
            assert is_open is not None
            number = readout.logits()[..., 0]
            nats[head.name] = position_nats(number, values, is_open)
            losses[head.name] = nats[head.name]
        elif head.loss == "contrast":
            own = readout.x, values, targets[head.name].weight, head.temperature
            nats[head.name] = losses[head.name] = contrast_nats(*own)
        else:
            number = readout.logits()[..., 0]
            nats[head.name] = gaussian_nats(number, values, head.variance)
            losses[head.name] = nats[head.name]
    return losses, nats


def split_key(key: Array | None) -> tuple[Array | None, Array | None]:
    """Returns a key for the data and one for the model; None of None."""
    if key is None:
        return None, None
    return jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)


def _class_losses(
    head: HeadConfig,
    readout: Readout,
    target: Targets,
    label_smoothing: float,
    z_loss: float,
) -> tuple[Array, Array]:
    """Returns what is descended and the bare nats of classes, mixed or not."""

    def of(values: Array) -> tuple[Array, Array]:
        scores = readout.scores(values)
        loss = scores.loss(label_smoothing, z_loss)
        return _weighed(head, loss, scores.nats, values), scores.nats

    own = of(target.values)
    if target.mixed is None:
        return own
    other, share = of(target.mixed[0]), target.mixed[1]
    mixed = [share * a + (1 - share) * b for a, b in zip(own, other, strict=True)]
    return mixed[0], mixed[1]


def _weighed(
    head: HeadConfig, loss: Array, nats: Array, classes: Array | None = None
) -> Array:
    """Returns a loss times what its classes weigh, and less where p is large.

    Without `classes` the last axis of the loss has one entry for each class.
    """
    if head.focal_gamma:
        loss = loss * focal_factor(nats, head.focal_gamma)
    if not head.weights:
        return loss
    weights = jnp.asarray(head.weights, jnp.float32)
    if classes is not None:
        return loss * jnp.take(weights, classes, axis=0)
    return loss * jnp.expand_dims(weights, range(loss.ndim - 1))


def _total(values: Mapping[str, Array], weights: Mapping[str, Array]) -> Any:
    """Returns the weighted sum of the values of all heads."""
    return reduce(add, (jnp.sum(values[n] * w) for n, w in weights.items()))


def _by_token(
    nats: Float[Array, "B T"], targets: Targets, target_at: int
) -> Float[Array, "B T"]:
    """Returns the loss of each token; see `Task.target_at`."""
    found = jnp.where(targets.weight > 0, nats * targets.weight, NO_TARGET)
    if not target_at:
        return found
    before = jnp.full_like(found[:, :1], NO_TARGET)
    return jnp.concatenate([before, found[:, :-1]], axis=1)


def _by_row(x: Float[Array, "B ..."]) -> Float[Array, " B"]:
    return jnp.sum(x.reshape(len(x), -1), axis=1)
