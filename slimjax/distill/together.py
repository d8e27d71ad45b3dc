"""The error of two models that learn together: from the data, and from each other."""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from slimjax.distill.alignment import without_maps
from slimjax.distill.config import DistillConfig
from slimjax.distill.error import sums_of
from slimjax.distill.peer import PEER, peer_variables
from slimjax.models.config import ModelConfig
from slimjax.nn.dropout import fold_name
from slimjax.nn.readout import Readout
from slimjax.tasks.base import Targets, Task
from slimjax.tasks.error import Sums, split_key

MutualErrorFn = Callable[..., tuple[Float[Array, ""], Sums]]
"""(variables, batch, strength, key) -> (error, sums)."""


def make_mutual_error_fn(
    task: Task, student: ModelConfig, peer: ModelConfig, config: DistillConfig
) -> MutualErrorFn:
    """Returns (variables, batch, strength, key) -> (error, sums).

    The error is the sum of both models' errors, each ``CE + s w T^2 KL(other || own)``
    in nats per target, the other's answers being fixed. So each weight gets the
    gradient of its own model's error alone. The sums are those of the student, and of
    the data alone.

    References:
        Zhang et al., "Deep Mutual Learning", 2018, equations 5 and 6.
    """
    losses = {head.name: head.loss for head in student.heads}
    networks, dtypes = (student.module(), peer.module()), (student.dtype, peer.dtype)

    def error_fn(
        variables: PyTree, batch: PyTree, strength: Array, key: Array | None = None
    ) -> tuple[Array, Sums]:
        data_key, model_key = split_key(key)
        inputs, targets = task.inputs(batch, data_key), task.targets(batch, data_key)
        keys = model_key, fold_name(model_key, PEER)
        both = without_maps(variables), peer_variables(peer, variables[PEER])
        answers: list[Any] = [
            network.apply(own, inputs, own_key)
            for network, own, own_key in zip(networks, both, keys, strict=True)
        ]
        weight = config.weight * strength

        def add_up(number: int) -> tuple[Array, Array]:
            """Returns the sums of one model's error and of its nats."""
            own, other = answers[number], answers[1 - number]
            parts = [
                mutual_sums(
                    *(losses[name], own[name], other[name], target, weight),
                    temperature=config.temperature,
                    dtype=jnp.dtype(dtypes[number]),
                )
                for name, target in targets.items()
            ]
            totals, nats = zip(*parts, strict=True)
            return reduce(add, totals), reduce(add, nats)

        (error, nats), (other_error, _) = add_up(0), add_up(1)
        num_targets = reduce(add, (jnp.sum(t.weight) for t in targets.values()))
        sums = {"nats_sum": nats, "num_targets": num_targets}
        return (error + other_error) / jnp.maximum(num_targets, 1.0), sums

    return error_fn


def mutual_sums(
    loss: str,
    own: Readout,
    other: Readout,
    target: Targets,
    weight: Array,
    **options: Any,
) -> tuple[Array, Array]:
    """Returns sums over targets: of ``CE + w T^2 KL(other || own)``, and of CE.

    It is ``(1 + w)`` times the mixed error of `distilled_sums` with the share
    ``w / (1 + w)``, whose parts are weighted alike.
    """
    fixed: Any = jax.lax.stop_gradient(other)
    share = weight / (1 + weight)
    mixed, nats, _ = sums_of(loss, own, fixed, target, share, **options)
    return (1 + weight) * mixed, nats
