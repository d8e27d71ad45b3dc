"""Language modelling: predict each token from those before it in its row."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from slimjax.models.config import ModelConfig
from slimjax.models.decoder import Decoder
from slimjax.nn.moments import MOMENTS

Sums = dict[str, Float[Array, ""]]


def shift_right(tokens: Int[Array, "B T"], bos_id: int) -> Int[Array, "B T"]:
    """Returns what the model reads when it is to predict `tokens`.

    Examples:
        >>> shift_right(jnp.array([[5, 6, 7]]), bos_id=1)
        Array([[1, 5, 6]], dtype=int32)
    """
    return jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=bos_id)


def make_sums_fn(
    config: ModelConfig, *, bos_id: int, pad_id: int
) -> Callable[[PyTree, PyTree], Sums]:
    """Returns the function from (variables, batch) to sums that add up over batches.

    ``nats_sum`` is the loss of all targets, ``num_tokens`` their number; padding is
    no target. A batch is ``{"tokens": int32 [B T]}``.
    """
    error_fn = make_error_fn(config, bos_id=bos_id, pad_id=pad_id)

    def sums_fn(variables: PyTree, batch: PyTree) -> Sums:
        return error_fn(variables, batch)[1]

    return sums_fn


def make_error_fn(
    config: ModelConfig,
    *,
    bos_id: int,
    pad_id: int,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Callable[[PyTree, PyTree], tuple[Float[Array, ""], Sums]]:
    """Returns the function from (variables, batch) to (mean nats a target, sums).

    The sums are those of `make_sums_fn`, always of the bare cross entropy.

    Args:
        config: The shape of the model.
        bos_id: The token before the first.
        pad_id: The token that is no target.
        label_smoothing: See `slimjax.nn.cross_entropy.Scores.loss`.
        z_loss: See there.
    """
    model = Decoder(config)

    def error_fn(variables: PyTree, batch: PyTree) -> tuple[Array, Sums]:
        tokens = batch["tokens"]
        inputs = shift_right(tokens, bos_id)
        scores: Any = model.apply(variables, inputs, tokens, method="scores")
        mask = (tokens != pad_id).astype(jnp.float32)
        losses = scores.loss(label_smoothing, z_loss)
        num_tokens = jnp.sum(mask)
        error = jnp.sum(losses * mask) / jnp.maximum(num_tokens, 1.0)
        return error, {
            "nats_sum": jnp.sum(scores.nats * mask),
            "num_tokens": num_tokens,
        }

    return error_fn


def make_moments_fn(
    config: ModelConfig, *, bos_id: int, **_: int
) -> Callable[[PyTree, PyTree], PyTree]:
    """Returns the function from (variables, batch) to `slimjax.nn.moments`."""
    model = Decoder(config)

    def moments_fn(variables: PyTree, batch: PyTree) -> PyTree:
        inputs = shift_right(batch["tokens"], bos_id)
        options: dict = dict(method="hidden", mutable=[MOMENTS])
        return model.apply(variables, inputs, **options)[1].get(MOMENTS, {})

    return moments_fn
