"""Language modelling: predict each token from those before it in its row."""

from collections.abc import Callable

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
    model = Decoder(config)

    def sums_fn(variables: PyTree, batch: PyTree) -> Sums:
        tokens = batch["tokens"]
        inputs = shift_right(tokens, bos_id)
        nats = model.apply(variables, inputs, tokens, method="nats")
        mask = (tokens != pad_id).astype(jnp.float32)
        return {"nats_sum": jnp.sum(nats * mask), "num_tokens": jnp.sum(mask)}

    return sums_fn


def make_error_fn(
    config: ModelConfig, *, bos_id: int, pad_id: int
) -> Callable[[PyTree, PyTree], tuple[Float[Array, ""], Sums]]:
    """Returns the function from (variables, batch) to (mean nats a target, sums)."""
    sums_fn = make_sums_fn(config, bos_id=bos_id, pad_id=pad_id)

    def error_fn(variables: PyTree, batch: PyTree) -> tuple[Array, Sums]:
        sums = sums_fn(variables, batch)
        return sums["nats_sum"] / jnp.maximum(sums["num_tokens"], 1.0), sums

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
