"""A small imported model whose vocabulary has rows that no text needs."""

import json

import gguf_models as files
import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder

NUM_ROWS = 410
OTHER = "zebra quagga jackal lynx vixen yak ibex oryx hyena jaguar"


def tokenizer_settings(text):
    """Returns the settings of a byte-level BPE that knows this text, and another."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_ROWS - 3, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([text, *[f"{OTHER} "] * 99], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    fill = [f"[PAD{i}]" for i in range(len(pieces), NUM_ROWS - 2)]
    kinds = [1] * len(pieces) + [5] * len(fill) + [3, 3]
    return {
        "ggml.model": "gpt2",
        "ggml.pre": "gpt-2",
        "ggml.tokens": [*pieces, *fill, "<|begin|>", "<|end|>"],
        "ggml.token_type": kinds,
        "ggml.merges": [" ".join(merge) for merge in model["merges"]],
        "ggml.bos_token_id": NUM_ROWS - 2,
        "ggml.eos_token_id": NUM_ROWS - 1,
        "ggml.add_bos_token": False,
    }


def make_model(folder, *, tied=True):
    """Writes a run folder and a text into `folder`."""
    random = np.random.default_rng(0)
    words = files.TEXT.split()
    lines = [" ".join(random.choice(words, 30)) for _ in range(160)]
    (folder / "text.txt").write_text("\n\n".join(lines))
    lines = [" ".join(random.choice(OTHER.split(), 30)) for _ in range(40)]
    (folder / "other.txt").write_text("\n\n".join(lines))
    settings = tokenizer_settings("\n".join([files.TEXT] * 9))
    layers = [(4, 2, 64), (4, 2, 64)]
    path = files.llama_file(
        folder / "m.gguf",
        layers,
        vocab=NUM_ROWS,
        tied=tied,
        tokenizer=settings,
        context_length=64,
    )
    imported = understand(read_gguf(path), str(folder / "run"))
    write_run_folder(imported, folder / "run", "gguf")
    return folder
