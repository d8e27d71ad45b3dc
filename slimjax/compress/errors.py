"""Errors of a model on held-out rows, in the units that people compare."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from slimjax.compress.losses import loss, scores_classes
from slimjax.compress.rows import Rows, Text
from slimjax.models.config import ModelConfig


class Error(NamedTuple):
    """What a model loses on some rows.

    Attributes:
        nats: Sum over all targets that count.
        num_targets: Their number.
        num_bytes: Raw bytes that they stand for; 0 where they are no text.
        is_distance: Whether half squared distances of vectors stand in place of nats.
    """

    nats: float
    num_targets: float
    num_bytes: float = 0.0
    is_distance: bool = False

    @property
    def nats_per_target(self) -> float:
        """Mean loss of a target."""
        return self.nats / max(self.num_targets, 1.0)

    @property
    def perplexity(self) -> float:
        """``exp`` of the mean loss."""
        return math.exp(min(self.nats_per_target, 700.0))

    @property
    def cosine(self) -> float:
        """Mean cosine to the original's vectors, of vectors of length 1."""
        return 1.0 - self.nats_per_target

    def as_dict(self) -> dict[str, float]:
        """Returns plain numbers for a report.

        Examples:
            >>> found = Error(8 * math.log(2), 4, 8).as_dict()
            >>> round(found["perplexity"], 6), round(found["bits_per_byte"], 6)
            (4.0, 1.0)
        """
        found = {"nats_per_target": self.nats_per_target}
        found["num_targets"] = self.num_targets
        if self.is_distance:
            return found | {"cosine": self.cosine}
        found["perplexity"] = self.perplexity
        if self.num_bytes:
            found["bits_per_byte"] = self.nats / math.log(2) / self.num_bytes
        return found


def measure(
    model: ModelConfig, variables: PyTree, rows: Rows, num_bytes: float = 0.0
) -> Error:
    """Returns the error of a model on some rows.

    Args:
        model: Its shape.
        variables: ``{"params": weights, "gates": gates}``.
        rows: The rows.
        num_bytes: Raw bytes that their targets stand for.
    """
    step, total = _nats_fn(model), 0.0
    variables = jax.tree.map(jnp.asarray, variables)
    for batch in rows.batches():
        total += float(
            step(variables, dict(batch.inputs), batch.targets, batch.weights)
        )
    is_distance = not scores_classes(model.heads[0])
    return Error(total, rows.num_targets, num_bytes, is_distance)


def measure_all(
    model: ModelConfig, variables: PyTree, texts: Mapping[str, Text]
) -> dict[str, Error]:
    """Returns the error of a model on each of several texts."""
    return {
        name: measure(model, variables, text.rows, text.num_bytes)
        for name, text in texts.items()
    }


@functools.lru_cache(maxsize=16)
def _nats_fn(model: ModelConfig) -> Callable[..., Array]:
    network, head = model.module(), model.heads[0]

    @jax.jit
    def step(
        variables: PyTree, inputs: Mapping[str, Array], targets: Any, weights: Any
    ):
        readout = network.apply(variables, inputs)[head.name]
        return jnp.sum(loss(head, readout, targets) * weights)

    return step
