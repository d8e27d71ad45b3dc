"""Translation with an image: a caption in one language, and what it describes.

    image [H W C], source [S] -> fusion -> memory [M E]
    target [T] -> decoder that sees its past and the memory -> the token that follows

An example has an ``image``, a ``source`` and a ``target``, as in `seq2seq`. With
``config.model.inputs`` the image or the source is left out, as a control.

References:
    Specia et al., "A Shared Task on Multimodal Machine Translation and Crosslingual
    Image Description", 2016.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxtyping import Array

from slimjax.data.caption_columns import prepare_translations
from slimjax.data.config import DataConfig
from slimjax.data.pairs import SOURCE, TARGET, pair_lengths
from slimjax.data.schema import Schema
from slimjax.errors import ConfigError
from slimjax.models.head import HeadSettings
from slimjax.tasks import seq2seq
from slimjax.tasks.base import Batch, Task
from slimjax.tasks.labelled import expected_outline as expected_outline
from slimjax.tasks.labelled import make_load
from slimjax.tasks.pixels import IMAGE

SCHEMA = Schema(
    {IMAGE: "image", SOURCE: "text", TARGET: "texts"}, prepare=prepare_translations
)


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: an image, a source, and a target or several.

    Raises:
        ConfigError: If source and target are to stand in one row.
    """
    del head
    if config.one_row:
        raise ConfigError(
            "config.data.one_row=True is for a decoder, which reads no images. Set it "
            "to False."
        )
    return SCHEMA


load = make_load(schema)


def lengths(config: DataConfig) -> dict[str, int]:
    """Returns the positions of a row, by tower."""
    return pair_lengths(config)


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task, for texts in which these tokens are no text."""
    task = seq2seq.make_task(special, "image_translation")

    def inputs(batch: Batch, key: Any) -> dict[str, Array]:
        return {IMAGE: batch[IMAGE], **task.inputs(batch, key)}

    return dataclasses.replace(task, inputs=inputs)
