"""What models read of the rows of labelled examples."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Int

from slimjax.data.config import DataConfig
from slimjax.models.adapters import DOMAIN
from slimjax.tasks.base import Batch, Task


def read_row(batch: Batch, special: Mapping[str, int]) -> dict[str, Array]:
    """Returns what a model reads of rows of features, or of one text or two.

    Beside tokens that is where they are no padding, and which of the texts they are of.

    Args:
        batch: Has ``features``, or ``tokens``: bos, a text, eos, and maybe a second
            text and its eos.
        special: Ids of pad and eos.
    """
    if "features" in batch:
        return {"features": batch["features"]}
    tokens = batch["tokens"]
    return {
        "tokens": tokens,
        "tokens_segments": (tokens != special["pad"]).astype(jnp.int32),
        "tokens_types": find_types(tokens, special["eos"]),
    }


def find_types(tokens: Int[Array, "B T"], eos_id: int) -> Int[Array, "B T"]:
    """Returns 0 up to the end of the first text, and 1 behind it.

    Examples:
        >>> find_types(jnp.array([[1, 7, 2, 8, 9, 2]]), eos_id=2)
        Array([[0, 0, 0, 1, 1, 1]], dtype=int32)
    """
    ends = (tokens == eos_id).at[:, 0].set(False).astype(jnp.int32)
    return jnp.minimum(jnp.cumsum(ends, axis=1) - ends, 1)


def with_domains(task: Task) -> Task:
    """Returns a task that also reads the number of each row's domain, if it has one."""

    def inputs(batch: Batch, key: Array | None) -> dict[str, Array]:
        read = task.inputs(batch, key)
        if DOMAIN not in batch:
            return read
        own = batch[DOMAIN]
        times = len(next(iter(read.values()), own)) // len(own)  # 2 for two texts.
        return read | {DOMAIN: jnp.concatenate([own] * times)}

    return dataclasses.replace(task, inputs=inputs)


def reads_features(config: DataConfig) -> bool:
    """Whether examples are rows of numbers, not texts."""
    sources = [config.source] if isinstance(config.source, str) else config.source
    is_image = any(source.startswith("idx:") for source in sources)
    return is_image or "features" in (config.fields or {})


def input_kinds(config: DataConfig) -> dict[str, str]:
    """Returns names and kinds of what is read: features, or one text or two."""
    if reads_features(config):
        return {"features": "features"}
    return {"text": "text", "text_pair": "text?"}
