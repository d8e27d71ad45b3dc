"""Error on held-out rows, exactly: sums over all of them, means taken once."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from slimjax.data.batches import iterate_rows
from slimjax.data.corpus import Corpus, load_corpus
from slimjax.errors import DataError
from slimjax.generate.model import load
from slimjax.mesh.mesh import mesh_here
from slimjax.mesh.shardings import put_batch
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import make_run_config
from slimjax.train.stage import Special, Stage


@dataclasses.dataclass(frozen=True)
class Error:
    """Loss on a split.

    Attributes:
        nats_per_token: Mean nats a target.
        bits_per_byte: Bits a raw byte of the documents.
        num_tokens: Targets counted.
    """

    nats_per_token: float
    bits_per_byte: float
    num_tokens: int


def evaluate(
    stage: Stage, params: PyTree, corpus: Corpus, split: str, max_rows: int = 0
) -> Error:
    """Returns the error on a split, or on its first `max_rows` rows.

    On a part of the rows, bits a byte are reckoned with the split's mean bytes a token.
    """
    rows = getattr(corpus, split)
    rows = rows[:max_rows] if max_rows else rows
    nats, tokens = 0.0, 0.0
    for batch in iterate_rows(rows, stage.run.data.batch_size):
        sums = stage.sums(params, put_batch(batch, stage.mesh))
        nats += float(sums["nats_sum"])
        tokens += float(sums["num_tokens"])
    mean = nats / tokens if tokens else math.nan
    return Error(mean, bits_per_byte(mean, corpus, split), int(tokens))


def bits_per_byte(nats_per_token: float, corpus: Corpus, split: str) -> float:
    """Returns nats a token as bits a raw byte of a split's documents."""
    num_bytes = corpus.num_bytes[split]
    if not num_bytes:
        return math.nan
    return nats_per_token * corpus.num_tokens[split] / num_bytes / float(np.log(2))


def evaluate_folder(
    workdir: str | Path, *, source: str | None, split: str
) -> dict[str, Any]:
    """Returns the error of a run's model on its own split, or on other text.

    Args:
        workdir: The run folder.
        source: Other text, or None for the run's own.
        split: ``valid``, ``test``, or ``all`` documents of other text.

    Raises:
        SlimjaxError: If the run, the text or the split is not there.
    """
    model = load(workdir)
    config = read_json(RunFolder(workdir).config, dict)
    if source is not None:
        config["data"]["source"] = source
    run = make_run_config(config)
    run = dataclasses.replace(run, mesh=mesh_here(run.mesh))
    everything = split == "all"
    corpus = load_corpus(run.data, tokenizer=model.tokenizer, all_valid=everything)
    held_out = "valid" if everything else split
    if not corpus.num_tokens[held_out]:
        raise DataError(f"{run.data.source} has no text in its {split} split.")
    special = Special(model.tokenizer.pad_id, model.tokenizer.bos_id)
    stage = Stage(run, model.config, special)
    variables = stage.unrounded(stage.place(model.params))
    error = evaluate(stage, variables, corpus, held_out)
    return {"source": run.data.source, "split": split} | dataclasses.asdict(error)
