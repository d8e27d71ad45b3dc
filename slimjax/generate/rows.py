"""Answers that are written: from what a model reads of rows to tokens of each."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from slimjax.generate.beam import Ends, search
from slimjax.generate.decode import Writer
from slimjax.generate.decode_config import DecodeConfig
from slimjax.generate.draw import draw
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
    more_ends: tuple[int, ...] = (),
) -> dict[str, np.ndarray]:
    """Returns a text for each row and its log-probability.

    It is the best one that beam search finds, or one drawn at random.

    Args:
        writer: The model, as `slimjax.models.cached.freeze_decoder` prepares it.
        inputs: What a task lets it read without targets: what other towers read, and
            ``tokens``, prompts with padding behind them, where a text goes on.
        special: Ids of ``bos``, ``eos`` and ``pad``.
        decode: Beams and length penalty, or temperature; and the longest text.
        more_ends: Other ids than ``eos`` that end a text.

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
    ends = Ends(special["eos"], special["pad"], more_ends)
    options = dict[str, Any](ends=ends, decode=decode)
    options["source"] = source or None
    if decode.temperature:
        keys = _keys_of(prompts, source, decode.seed)
        tokens, logprob = draw(writer, prompts, keys, **options)
    else:
        tokens, logprob = search(writer, prompts, **options)
    return {"tokens": tokens, "logprob": logprob}


def _keys_of(
    prompts: Sequence[np.ndarray], source: Mapping[str, np.ndarray], seed: int
) -> jax.Array:
    """Returns the key of each row, ``[B]``: of the seed and what is read, in any batch.

    Padding does not count: what stands where segments are 0, and zeros at the end.
    """
    names = sorted(name for name in source if not name.endswith("_bytes"))
    numbers = np.zeros(len(prompts), np.uint32)
    for i, prompt in enumerate(prompts):
        numbers[i] = zlib.crc32(np.asarray(prompt, np.int32).tobytes())
        for name in names:
            row, segments = source[name][i], source.get(f"{name}_segments")
            row = row if segments is None else np.where(segments[i] > 0, row, 0)
            numbers[i] = zlib.crc32(row.tobytes().rstrip(b"\0"), int(numbers[i]))
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), numbers)


def make_row_writer(
    config: ModelConfig,
    variables: PyTree,
    task: Task,
    special: Mapping[str, int],
    decode: DecodeConfig,
    weights: str = "",
    more_ends: tuple[int, ...] = (),
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
        more_ends: Other ids than ``eos`` that end a text.

    Raises:
        ConfigError: If the model does not write with such weights.
    """
    writer = freeze_decoder(config, variables, weights)
    left_out = (TOKENS,) if config.main.domains else (TOKENS, DOMAIN)

    def write(batch: Mapping[str, Any]) -> Rows:
        known = {n: jnp.asarray(x) for n, x in batch.items() if n not in left_out}
        return write_rows(writer, task.inputs(known, None), special, decode, more_ends)

    return write
