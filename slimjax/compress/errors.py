"""Errors of a model on held-out rows, in the units that people compare."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from slimjax.compress.walk import Rows, Text
from slimjax.models.config import ModelConfig


class Error(NamedTuple):
    """What a model loses on some rows.

    Attributes:
        nats: Sum over all targets that count.
        num_targets: Their number.
        num_bytes: Raw bytes that they stand for; 0 where they are no text.
    """

    nats: float
    num_targets: float
    num_bytes: float = 0.0

    @property
    def nats_per_target(self) -> float:
        """Mean loss of a target."""
        return self.nats / max(self.num_targets, 1.0)

    @property
    def perplexity(self) -> float:
        """``exp`` of the mean loss."""
        return math.exp(min(self.nats_per_target, 700.0))

    def as_dict(self) -> dict[str, float]:
        """Returns plain numbers for a report.

        Examples:
            >>> found = Error(8 * math.log(2), 4, 8).as_dict()
            >>> round(found["perplexity"], 6), round(found["bits_per_byte"], 6)
            (4.0, 1.0)
        """
        found = {
            "nats_per_target": self.nats_per_target,
            "perplexity": self.perplexity,
            "num_targets": self.num_targets,
        }
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
    return Error(total, rows.num_targets, num_bytes)


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
    network, head = model.module(), model.heads[0].name

    @jax.jit
    def step(
        variables: PyTree, inputs: Mapping[str, Array], targets: Any, weights: Any
    ):
        scores = network.apply(variables, inputs)[head].scores(targets)
        return jnp.sum(scores.nats * weights)

    return step
