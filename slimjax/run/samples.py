"""Samples of text for the report: what the model writes after held-out beginnings."""

from typing import cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from slimjax.data.dataset import Batch, Dataset
from slimjax.data.pairs import PROMPT, SOURCE
from slimjax.data.tokenizer import Tokenizer
from slimjax.data.tokens import begin_row
from slimjax.generate.decode import generate_all
from slimjax.generate.decode_config import DecodeConfig
from slimjax.generate.rows import TOKENS, write_rows
from slimjax.generate.sampling import Sampling
from slimjax.models.cached import freeze_decoder
from slimjax.models.config import ModelConfig
from slimjax.tasks.base import Task

NUM_SAMPLES = 3
PROMPT_TOKENS = 24
SAMPLE_TOKENS = 64


def make_samples(
    task: Task, model: ModelConfig, variables: PyTree, data: Dataset, seed: int
) -> list[dict[str, str]]:
    """Returns what the model writes after the beginnings of validation rows.

    A model that reads sources or images writes for some of them, also where a source
    and its target stand in one row.

    Args:
        task: What it was trained for, which generates.
        model: Its shape.
        variables: ``{"params": ..., "gates": ...}``.
        data: What it has learned from.
        seed: Decides the samples.
    """
    split = "valid" if data.num_rows("valid") else "train"
    rows = data.splits[split]["tokens"]
    chosen = np.linspace(0, len(rows) - 1, min(NUM_SAMPLES, len(rows))).astype(int)
    if model.main.memory is not None or PROMPT in data.fields:
        own = data.rows(split, chosen)
        return _write_for_sources(task, model, variables, data, own)
    length, tokenizer = min(PROMPT_TOKENS, rows.shape[1]), data.tokenizer
    prompts = [np.asarray(rows[i][:length], np.int32) for i in chosen]
    writer, most = freeze_decoder(model, variables), model.main.num_positions
    room = most - length if most else SAMPLE_TOKENS
    if room < 1:
        prompts, room = [prompt[: most // 2] for prompt in prompts], most - most // 2
    outputs = generate_all(
        writer,
        [np.concatenate([begin_row(tokenizer), prompt]) for prompt in prompts],
        max_new_tokens=min(room, SAMPLE_TOKENS),
        eos_id=tokenizer.eos_id,
        sampling=Sampling(temperature=0.7, top_k=40),
        seed=seed,
    )
    return [
        {"prompt": tokenizer.decode(prompt), "text": tokenizer.decode(output)}
        for prompt, output in zip(prompts, outputs, strict=True)
    ]


def _write_for_sources(
    task: Task, model: ModelConfig, variables: PyTree, data: Dataset, rows: Batch
) -> list[dict[str, str]]:
    read = [tower.reads for tower in model.towers if tower.name and not tower.of]
    known = {PROMPT: PROMPT in rows, SOURCE: SOURCE in read}
    memory = next((name for name, is_there in known.items() if is_there), "") or read[0]
    tokenizer = data.tokenizer
    reader = cast(Tokenizer, data.codecs.get(memory, tokenizer))
    sources = rows[memory]
    without = {name: jnp.asarray(x) for name, x in rows.items() if name != TOKENS}
    inputs = task.inputs(without, None)
    decode = DecodeConfig(1, 0.0, min(rows["tokens"].shape[1], SAMPLE_TOKENS))
    writer = freeze_decoder(model, variables)
    written = write_rows(writer, inputs, tokenizer.special, decode)["tokens"]
    read_source = lambda x: reader.decode(x) if x.ndim == 1 else "(a picture)"
    return [
        {"prompt": read_source(source), "text": tokenizer.decode(text)}
        for source, text in zip(sources, written, strict=True)
    ]
