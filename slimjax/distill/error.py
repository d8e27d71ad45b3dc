"""The error of language modelling, with a teacher beside the text."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from slimjax.distill.alignment import ALIGN, alignment_error, without_maps
from slimjax.distill.config import DistillConfig
from slimjax.distill.divergence import Outputs, distilled_sums
from slimjax.distill.outcomes import Outcomes
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

    Variables may hold the maps of `slimjax.distill.alignment` beside weights and gates.
    The error is a mean in nats a target, and the sums are those of
    `slimjax.tasks.lm.make_error_fn`: ``nats_sum`` is of the text alone. The strength,
    0 to 1, is what the config's weights are multiplied by. With ``config.top_k`` the
    batch holds the teacher's outcomes beside the tokens, ``ids`` and ``logs``, and its
    variables are not looked at.
    """
    dtype = jnp.dtype(student.dtype)

    def outputs(model: ModelConfig, variables: PyTree, inputs: Array) -> Any:
        own = without_maps(variables)
        return Decoder(model).apply(own, inputs, method="outputs")

    def hear(batch: PyTree, inputs: Array, taught_by: PyTree) -> Any:
        if config.keeps_outcomes:
            return Outcomes(batch["ids"], batch["logs"]), None
        *heard, taught = jax.lax.stop_gradient(outputs(teacher, taught_by, inputs))
        return Outputs(*heard), taught

    def error_fn(
        variables: PyTree, batch: PyTree, taught_by: PyTree, strength: Array
    ) -> tuple[Array, Sums]:
        tokens = batch["tokens"]
        inputs = shift_right(tokens, bos_id)
        mask = (tokens != pad_id).astype(jnp.float32)
        *said, streams = outputs(student, variables, inputs)
        heard, taught = hear(batch, inputs, taught_by)
        total, nats, _ = distilled_sums(
            Outputs(*said),
            heard,
            tokens,
            mask,
            config.weight * strength,
            temperature=config.temperature,
            dtype=dtype,
        )
        num_tokens = jnp.sum(mask)
        sums = {"nats_sum": nats, "num_tokens": num_tokens}
        error = total / jnp.maximum(num_tokens, 1.0)
        if config.hidden_weight:
            away = alignment_error(variables[ALIGN], streams, taught, mask, dtype)
            error += config.hidden_weight * strength * away
        return error, sums

    return error_fn
