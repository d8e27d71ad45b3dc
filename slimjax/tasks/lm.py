"""Language modelling: predict each token from those before it in its row.

A row begins with bos, which is read and is not among its tokens. Of a pretrained model
whose rows begin with none, the first token is read and is no target.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from slimjax.data.config import DataConfig
from slimjax.data.dataset import Dataset, Field, Outline
from slimjax.data.language import load_language_dataset
from slimjax.data.tokenizer_choice import expected_vocab
from slimjax.data.tokens import adds_bos
from slimjax.models.head import HeadConfig, HeadSettings
from slimjax.tasks.base import Columns, Metric, Targets, Task, nats_per_target, ratio
from slimjax.text.survey import Progress


def bits_per_byte(columns: Columns) -> np.ndarray:
    """Returns the nats of all tokens as bits of a raw byte of their documents.

    Examples:
        >>> rows = {"nats": np.array([np.log(2.0) * 6]), "bytes": np.array([3])}
        >>> round(float(bits_per_byte(rows)), 6)
        2.0
    """
    return np.asarray(ratio(columns["nats"], columns["bytes"]) / np.log(2))


METRICS = (
    Metric("bits_per_byte", "bits per byte", "low", bits_per_byte, from_loss=True),
    Metric("nats_per_token", "nats per token", "low", nats_per_target),
)


def load(
    config: DataConfig,
    *,
    head: HeadSettings | None = None,
    codecs: Mapping[str, Any] | None = None,
    all_valid: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Returns the rows of a corpus; see `load_language_dataset`."""
    del head
    tokenizer = None if codecs is None else codecs["tokens"]
    return load_language_dataset(
        config, tokenizer=tokenizer, all_valid=all_valid, progress=progress
    )


def expected_outline(config: DataConfig) -> Outline:
    """Returns what is known of the data before they are read."""
    vocab_size, special = expected_vocab(config)
    return Outline(
        fields={"tokens": Field((config.seq_len,), "int32", ("positions",))},
        sizes={"vocab": vocab_size},
        lengths={"": config.seq_len},
        special=special,
    )


def shift_right(tokens: Int[Array, "B T"], bos_id: int) -> Int[Array, "B T"]:
    """Returns what the model reads when it is to predict `tokens`.

    Examples:
        >>> shift_right(jnp.array([[5, 6, 7]]), bos_id=1)
        Array([[1, 5, 6]], dtype=int32)
    """
    return jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=bos_id)


def heads(sizes: Mapping[str, int]) -> tuple[HeadConfig, ...]:
    """Returns the one head: the token at each position."""
    return (HeadConfig("tokens", sizes["vocab"], table="tied"),)


def make_task(special: Mapping[str, int]) -> Task:
    """Returns the task, for rows in which these tokens are no text."""
    bos_id, pad_id, has_bos = special["bos"], special["pad"], adds_bos(special)

    def inputs(batch: Mapping[str, Array], _: Any) -> dict[str, Array]:
        tokens = batch["tokens"]
        return {"tokens": shift_right(tokens, bos_id) if has_bos else tokens}

    def targets(batch: Mapping[str, Array], _: Any) -> dict[str, Targets]:
        tokens = batch["tokens"]
        if not has_bos:
            last = ((0, 0), (0, 1))
            tokens = jnp.pad(tokens[:, 1:], last, constant_values=pad_id)
        return {"tokens": Targets(tokens, (tokens != pad_id).astype(jnp.float32))}

    return Task(
        name="lm",
        heads=heads,
        inputs=inputs,
        targets=targets,
        metrics=METRICS,
        generates=True,
        target="token",
        target_at=0 if has_bos else -1,
        hides_future=True,
    )
