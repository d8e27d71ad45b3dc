"""The error of language modelling, with a teacher beside the text."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from slimjax.distill.config import DistillConfig
from slimjax.distill.divergence import Outputs, distilled_sums
from slimjax.models.config import ModelConfig
from slimjax.models.decoder import Decoder
from slimjax.tasks.lm import Sums, shift_right

DistilledErrorFn = Callable[
    [PyTree, PyTree, PyTree, Array], tuple[Float[Array, ""], Sums]
]


def make_distilled_error_fn(
    student: ModelConfig,
    teacher: ModelConfig,
    config: DistillConfig,
    *,
    bos_id: int,
    pad_id: int,
) -> DistilledErrorFn:
    """Returns (variables, batch, teacher's variables, strength) -> (error, sums).

    The error is a mean in nats a target, and the sums are those of
    `slimjax.tasks.lm.make_error_fn`: ``nats_sum`` is of the text alone. The strength,
    0 to 1, is what `config.weight` is multiplied by.
    """

    def outputs(model: ModelConfig, variables: PyTree, inputs: Array) -> Outputs:
        said: Any = Decoder(model).apply(variables, inputs, method="outputs")
        return Outputs(*said)

    def error_fn(
        variables: PyTree, batch: PyTree, taught_by: PyTree, strength: Array
    ) -> tuple[Array, Sums]:
        tokens = batch["tokens"]
        inputs = shift_right(tokens, bos_id)
        mask = (tokens != pad_id).astype(jnp.float32)
        total, nats, _ = distilled_sums(
            outputs(student, variables, inputs),
            jax.lax.stop_gradient(outputs(teacher, taught_by, inputs)),
            tokens,
            mask,
            config.weight * strength,
            temperature=config.temperature,
            dtype=jnp.dtype(student.dtype),
        )
        num_tokens = jnp.sum(mask)
        sums = {"nats_sum": nats, "num_tokens": num_tokens}
        return total / jnp.maximum(num_tokens, 1.0), sums

    return error_fn
