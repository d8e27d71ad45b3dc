"""Captions: a text is written for an image.

    image [H W C] -> convolution or patches -> memory [S E]
    target [T] -> decoder that sees its past and the memory -> the token that follows

An example has an ``image`` and a ``target``: a text, or a list of texts, of which the
first is learned and all are references for metrics. Error is in nats per target token,
the end of the text counted.

References:
    Xu et al., "Show, Attend and Tell: Neural Image Caption Generation with Visual
    Attention", 2015.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxtyping import Array

from slimjax.data.caption_columns import prepare_captions
from slimjax.data.config import DataConfig
from slimjax.data.pairs import TARGET, target_length
from slimjax.data.schema import Schema
from slimjax.models.head import HeadSettings
from slimjax.tasks import seq2seq
from slimjax.tasks.base import Batch, Task
from slimjax.tasks.labelled import expected_outline as expected_outline
from slimjax.tasks.labelled import make_load
from slimjax.tasks.lm import shift_right
from slimjax.tasks.pixels import IMAGE

SCHEMA = Schema({IMAGE: "image", TARGET: "texts"}, prepare=prepare_captions)


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: an image, and a target or several."""
    del config, head
    return SCHEMA


load = make_load(schema)


def lengths(config: DataConfig) -> dict[str, int]:
    """Returns the positions of a row, by tower."""
    return {"": target_length(config)}


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task, for targets in which these tokens are no text."""

    def inputs(batch: Batch, _: Any) -> dict[str, Array]:
        read = {IMAGE: batch[IMAGE]}
        if "tokens" in batch:
            read["tokens"] = shift_right(batch["tokens"], special["bos"])
        return read

    task = seq2seq.make_task(special, "caption")
    return dataclasses.replace(task, inputs=inputs)
