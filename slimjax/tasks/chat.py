"""Chat: the answer to the messages so far.

    messages [S] -> encoder -> memory;  answer [T] -> decoder       encoder_decoder
    messages and answer [S + T] -> decoder                          data.one_row

An example has ``messages``, a list of ``{"role": ..., "content": ...}``. The last one,
the assistant's, is learned; the others are read, as lines ``role: content``. Where they
are too long, the first ones are cut. Error is in nats per token of the answer.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from slimjax.data.chats import MESSAGES, check_past, prepare_chats, take_apart
from slimjax.data.config import DataConfig
from slimjax.data.dataset import Dataset
from slimjax.data.labelled import load_labelled_dataset
from slimjax.data.schema import Schema
from slimjax.errors import ConfigError
from slimjax.models.head import HeadSettings
from slimjax.tasks import seq2seq
from slimjax.tasks.base import Task
from slimjax.text.survey import Progress

SCHEMA = Schema(
    {MESSAGES: "messages"},
    prepare=prepare_chats,
    check=check_past,
    take_apart=take_apart,
)

expected_outline = seq2seq.expected_outline
lengths = seq2seq.lengths


def load(
    config: DataConfig,
    *,
    head: HeadSettings | None = None,
    codecs: Mapping[str, Any] | None = None,
    all_valid: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Returns rows of messages and answers; see `load_labelled_dataset`."""
    del head
    if config.source_vocab_size:
        raise ConfigError(
            f"config.data.source_vocab_size={config.source_vocab_size}: messages and "
            "answers share a tokenizer. Set it to 0."
        )
    return load_labelled_dataset(
        config, SCHEMA, codecs=codecs, all_valid=all_valid, progress=progress
    )


def schema(config: DataConfig, head: HeadSettings | None = None) -> Schema:
    """Returns what is read: messages."""
    del config, head
    return SCHEMA


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task, for rows in which these tokens are no text."""
    task = seq2seq.make_task(special, "chat")
    metrics = tuple(m for m in task.metrics if not m.from_answers)
    return dataclasses.replace(task, metrics=metrics, score=None, describe=None)
