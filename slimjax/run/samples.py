"""Samples of text for the report: what the model writes after held-out beginnings."""

import numpy as np
from jaxtyping import PyTree

from slimjax.data.dataset import Dataset
from slimjax.generate.decode import generate_all
from slimjax.generate.sampling import Sampling
from slimjax.models.cached import freeze_decoder
from slimjax.models.config import ModelConfig

NUM_SAMPLES = 3
PROMPT_TOKENS = 24
SAMPLE_TOKENS = 64


def make_samples(
    model: ModelConfig, variables: PyTree, data: Dataset, seed: int
) -> list[dict[str, str]]:
    """Returns what the model writes after the beginnings of validation rows."""
    rows = data.splits["valid"]["tokens"]
    rows = rows if len(rows) else data.splits["train"]["tokens"]
    chosen = np.linspace(0, len(rows) - 1, min(NUM_SAMPLES, len(rows))).astype(int)
    length, tokenizer = min(PROMPT_TOKENS, rows.shape[1]), data.tokenizer
    prompts = [np.asarray(rows[i][:length], np.int32) for i in chosen]
    writer, most = freeze_decoder(model, variables), model.main.num_positions
    room = most - length if most else SAMPLE_TOKENS
    if room < 1:
        prompts, room = [prompt[: most // 2] for prompt in prompts], most - most // 2
    outputs = generate_all(
        writer,
        [np.concatenate([[tokenizer.bos_id], prompt]) for prompt in prompts],
        max_new_tokens=min(room, SAMPLE_TOKENS),
        eos_id=tokenizer.eos_id,
        sampling=Sampling(temperature=0.7, top_k=40),
        seed=seed,
    )
    return [
        {"prompt": tokenizer.decode(prompt), "text": tokenizer.decode(output)}
        for prompt, output in zip(prompts, outputs, strict=True)
    ]
