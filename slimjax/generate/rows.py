"""Answers that are written: from what a model reads of rows to tokens of each."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from slimjax.generate.beam import Ends, search
from slimjax.generate.decode import Writer
from slimjax.generate.decode_config import DecodeConfig
from slimjax.models.adapters import DOMAIN
from slimjax.models.cached import freeze_decoder
from slimjax.models.config import ModelConfig
from slimjax.tasks.base import Task

TOKENS = "tokens"
"""Targets in a batch; in inputs without targets, what a text goes on from."""

Rows = dict[str, np.ndarray]


def write_rows(
    writer: Writer,
    inputs: Mapping[str, Any],
    special: Mapping[str, int],
    decode: DecodeConfig,
) -> dict[str, np.ndarray]:
    """Returns the best text of each row and its log-probability.

    Args:
        writer: The model, as `slimjax.models.cached.freeze_decoder` prepares it.
        inputs: What a task lets it read without targets: what other towers read, and
            ``tokens``, prompts with padding behind them, where a text goes on.
        special: Ids of ``bos``, ``eos`` and ``pad``.
        decode: Beams, length penalty and longest text.

    Returns:
        ``tokens`` ``[B L]``, without their end, then padding; ``logprob`` ``[B]``, in
        nats, the end counted.
    """
    source = {name: np.asarray(x) for name, x in inputs.items() if name != TOKENS}
    num_rows = len(next(iter(inputs.values())))
    prompts = [np.array([special["bos"]], np.int32)] * num_rows
    if TOKENS in inputs:
        rows = np.asarray(inputs[TOKENS])
        lengths = np.maximum((rows != special["pad"]).sum(1), 1)
        prompts = [row[:length] for row, length in zip(rows, lengths, strict=True)]
    tokens, logprob = search(
        *(writer, prompts),
        ends=Ends(special["eos"], special["pad"]),
        decode=decode,
        source=source or None,
    )
    return {"tokens": tokens, "logprob": logprob}


def make_row_writer(
    config: ModelConfig,
    variables: PyTree,
    task: Task,
    special: Mapping[str, int],
    decode: DecodeConfig,
    weights: str = "",
) -> Callable[[Mapping[str, Any]], Rows]:
    """Returns the function from a batch to what `write_rows` returns.

    Targets in a batch are not read.

    Args:
        config: The model's shape.
        variables: ``{"params": ..., "gates": ...}``.
        task: A task that generates.
        special: Ids with a meaning of their own.
        decode: How answers are written; see `DecodeConfig.with_room`.
        weights: float32, bfloat16, or int8; by default the dtype of the model.

    Raises:
        ConfigError: If the model does not write with such weights.
    """
    writer = freeze_decoder(config, variables, weights)
    left_out = (TOKENS,) if config.main.domains else (TOKENS, DOMAIN)

    def write(batch: Mapping[str, Any]) -> Rows:
        known = {n: jnp.asarray(x) for n, x in batch.items() if n not in left_out}
        return write_rows(writer, task.inputs(known, None), special, decode)

    return write
