"""Rows of text, as calibration and errors read them.

A language model's row has one token more than targets: the first one is read and not
scored, and nothing stands before it. Other tasks make their own inputs and targets.
Models of vectors read texts alone (`slimjax.compress.vectors`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from slimjax import tasks
from slimjax.compress.config import Request
from slimjax.compress.losses import scores_classes
from slimjax.compress.rows import Rows, Text
from slimjax.compress.settings import Settings
from slimjax.compress.vectors import read_vectors
from slimjax.data.codecs import Codecs
from slimjax.data.dataset import Dataset
from slimjax.data.domain_config import PLAIN
from slimjax.data.tokens import adds_bos
from slimjax.errors import DataError
from slimjax.models.config import ModelConfig
from slimjax.run.blueprints import make_task
from slimjax.tasks.spelling import with_bytes
from slimjax.train.config import RunConfig

LEAST_ROWS = 12
"""Fewest rows that an error is reported of, or that a model is calibrated on."""

LANGUAGE_MODEL = "lm"


def load_data(
    run: RunConfig, codecs: Codecs, source: str = "", *, held_out: bool = False
) -> Dataset:
    """Returns the rows of a source.

    Args:
        run: The settings; rows of a language model get one token more.
        codecs: The model's.
        source: The source; empty for that of the settings.
        held_out: Whether all of it is held out, in the split ``valid``.
    """
    data = run.data
    if source:
        own: dict[str, Any] = {**PLAIN, "source": source}
        data = dataclasses.replace(data, **own, valid_source="", test_source="")
    if run.task == LANGUAGE_MODEL:
        data = dataclasses.replace(data, seq_len=data.seq_len + 1)
    load = tasks.get(run.task).load
    return load(data, head=run.head, codecs=codecs, all_valid=held_out)


def read_rows(
    run: RunConfig,
    model: ModelConfig,
    data: Dataset,
    split: str,
    num_rows: int,
    name: str,
) -> Text:
    """Returns rows spread over a split.

    Args:
        run: The settings.
        model: The model that is to read them.
        data: Where they are from.
        split: ``train`` or ``valid``.
        num_rows: Most rows that are read.
        name: What the source is called in a message.

    Raises:
        DataError: If there are fewer than `LEAST_ROWS`.
    """
    total = data.num_rows(split)
    if run.task == LANGUAGE_MODEL and split != "train":
        total -= int(data.row_counts[split]["targets"][-1] <= run.data.seq_len)
    if total < LEAST_ROWS:
        raise DataError(
            f"{name} has {total} rows of {run.data.seq_len} targets in its {split} "
            f"split; {LEAST_ROWS} are needed. Give more text, or set a smaller "
            "config.data.seq_len."
        )
    numbers = np.linspace(0, total - 1, min(num_rows, total)).round().astype(int)
    batch = data.rows(split, np.unique(numbers))
    if run.task == LANGUAGE_MODEL:
        return _language_rows(batch["tokens"], data)
    task = with_bytes(make_task(run, data.outline), model, data.codecs)
    batch, key = jax.tree.map(jnp.asarray, dict(batch)), jax.random.key(run.seed)
    arrays = {n: np.asarray(x) for n, x in task.inputs(batch, key).items()}
    target = task.targets(batch, key)[model.heads[0].name]
    values, weights = np.asarray(target.values), np.asarray(target.weight)
    if model.main.memory is not None:  # A decoder's padding is no text either.
        arrays[f"{model.main.reads}_segments"] = (weights > 0).astype(np.int32)
    return Text(Rows(arrays, values, weights))


def _language_rows(tokens: np.ndarray, data: Dataset) -> Text:
    """Returns rows in which the first token is not scored.

    Before it stands bos, where the tokenizer begins rows with it.
    """
    tokens = np.asarray(tokens, np.int32)
    num_bytes = sum(len(data.tokenizer.decode_bytes(row[1:])) for row in tokens)
    read, targets = tokens[:, :-1], tokens[:, 1:]
    weights = np.ones(targets.shape, np.float32)
    if adds_bos(data.special):
        read = np.pad(read, ((0, 0), (1, 0)), constant_values=data.special["bos"])
        targets, weights = tokens, np.pad(weights, ((0, 0), (1, 0)))
    return Text(Rows({"tokens": read}, targets, weights), float(num_bytes))


def read_texts(request: Request, settings: Settings) -> dict[str, Text]:
    """Returns the rows to calibrate on, under an empty name, and held-out rows."""
    run, model, name = settings.run, settings.model, f"--data={request.data}"
    if not scores_classes(model.config.heads[0]):
        return read_vectors(request, run, model)
    data, most = load_data(run, model.codecs), request.num_error_rows
    read = lambda *parts: read_rows(run, model.config, *parts)
    texts = {"": read(data, "train", request.num_rows, name)}
    texts[request.data] = read(data, "valid", most, name)
    for source in request.also:
        other = load_data(run, model.codecs, source, held_out=True)
        texts[source] = read(other, "valid", most, f"--also={source}")
    return texts
