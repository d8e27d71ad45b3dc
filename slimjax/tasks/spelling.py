"""Tasks for models that read the bytes of tokens beside the tokens."""

import dataclasses
from collections.abc import Mapping
from typing import cast

import jax.numpy as jnp
from jaxtyping import Array

from slimjax.data.dataset import Codec
from slimjax.data.spelling import spell
from slimjax.data.tokenizer import Tokenizer
from slimjax.models.config import ModelConfig
from slimjax.tasks.base import Batch, Task


def with_bytes(task: Task, model: ModelConfig, codecs: Mapping[str, Codec]) -> Task:
    """Returns a task whose inputs have the bytes of tokens where a model reads them.

    Where the tokenizer is not known yet, all bytes are missing.

    Args:
        task: The task.
        model: The model.
        codecs: Tokenizers, by what they are of.
    """
    tables = {}
    for tower in model.towers:
        if tower.token_bytes:
            found = codecs.get(tower.reads, codecs.get("tokens"))
            length = tower.token_bytes
            table = jnp.zeros((1, length), jnp.int32)
            if found is not None:
                table = spell(cast(Tokenizer, found), length)
            tables[tower.reads] = table
    if not tables:
        return task

    def inputs(batch: Batch, key: Array | None) -> dict[str, Array]:
        read = task.inputs(batch, key)
        spelled = {
            f"{name}_bytes": jnp.take(
                jnp.asarray(table), read[name], axis=0, mode="clip"
            )
            for name, table in tables.items()
            if name in read
        }
        return read | spelled

    return dataclasses.replace(task, inputs=inputs)
