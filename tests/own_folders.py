"""Folders of the Hugging Face form with random weights, made without torch."""

import json
from pathlib import Path

import numpy as np
from foreign_models import MODELS, TOKENIZERS, byte_level, save_tokenizer

from slimjax.data.json_tokenizer import KEPT_FILES
from slimjax.interop.exporting import Weighed, make_foreign
from slimjax.interop.families import family_of
from slimjax.interop.foreign import Foreign
from slimjax.interop.hf_writing import write_folder
from slimjax.interop.importing import shape_of
from slimjax.interop.tokenizers import make_tokenizer

SIZES = {
    "": ("num_attention_heads", "intermediate_size", "num_hidden_layers"),
    "gpt2": ("n_head", "n_inner", "n_layer"),
    "distilbert": ("n_heads", "hidden_dim", "n_layers"),
}
"""Names of heads, hidden width and layers, by kind of model."""


def config_of(name: str, **changes) -> dict:
    """Returns a ``config.json`` of one of `MODELS`."""
    kind, settings = MODELS[name]
    family = name.split("-")[0]
    size = TOKENIZERS.get(family, byte_level)().get_vocab_size()
    config = {"model_type": family, "architectures": [kind], "vocab_size": size + 5}
    config |= {"bert": {"pad_token_id": 0}, "distilbert": {"pad_token_id": 0}}.get(
        family, {}
    )
    if family == "roberta":
        config |= dict(pad_token_id=1, bos_token_id=0, eos_token_id=2)
    config |= settings
    if "num_labels" in config:
        names = [f"LABEL_{i}" for i in range(config.pop("num_labels"))]
        config["id2label"] = dict(enumerate(names))
    config["id2label"] = {str(k): v for k, v in config.get("id2label", {}).items()}
    config = {k: v for k, v in config.items() if v != {}}
    return json.loads(json.dumps(config | changes))


def random_model(folder: Path, config: dict, seed: int = 0) -> Weighed:
    """Returns a random model of ours, of the shape that a config describes.

    Args:
        folder: Where its tokenizer is written.
        config: Settings.
        seed: Root of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folder, config["model_type"])
    names = ["tokenizer.json", *KEPT_FILES]
    files = {n: (folder / n).read_bytes() for n in names if (folder / n).is_file()}
    described = family_of(config).describe(config)
    tokenizer = make_tokenizer(Foreign(config, {}, files), described.vocab_size)
    codecs = {"tokens": tokenizer, **described.codecs}
    tied = bool(config.get("tie_word_embeddings", config["model_type"] != "llama"))
    model = shape_of(config, codecs, tied=tied)
    rng, weights = np.random.default_rng(seed), {}

    def read(path):
        if path not in weights:
            shape = weighed.shapes[path]
            scale = 1.0 if path[-1] == "scale" else 0.0
            weights[path] = (scale + rng.normal(0, 0.2, shape)).astype(np.float32)
            if path[-2:] == ("relative", "table") and path[:-3] != path[:0]:
                first = (*path[:-4], path[-4][:-1] + "0", *path[-3:])
                weights[path] = weights[path] if first == path else read(first)
        return weights[path]

    weighed = Weighed(model, read, described.task, codecs)
    return weighed


def random_folder(folder: Path, config: dict, seed: int = 0) -> Weighed:
    """Writes a random model into a folder, and returns it."""
    weighed = random_model(folder, config, seed)
    write_folder(make_foreign(weighed), folder)
    return weighed


def ragged(config: dict, seed: int) -> dict:
    """Returns a config whose layers differ; some lack attention, the MLP, or both."""
    rng = np.random.default_rng(seed)
    kind = config["model_type"]
    heads, mlp, depth = SIZES.get(kind, SIZES[""])
    most_heads, most, depth = (config[name] for name in (heads, mlp, depth))
    if kind == "distilbert":  # Its layers have BERT's names.
        heads, mlp, _ = SIZES[""]
    groups, own = config.get("num_key_value_heads"), {}
    lacks = rng.permutation([*range(4), *rng.integers(0, 4, max(depth - 4, 0))])
    for number in range(depth):
        each = rng.integers(1, (most_heads // (groups or most_heads)) + 1)
        kept = rng.integers(1, (groups or most_heads) + 1)
        entry = {heads: int(each * kept), mlp: int(rng.integers(1, most + 1))}
        entry |= {} if groups is None else {"num_key_value_heads": int(kept)}
        lack = int(lacks[number])
        if lack in (1, 3):
            entry |= {heads: 0}
            entry |= {} if groups is None else {"num_key_value_heads": 0}
        if lack in (2, 3):
            entry |= {mlp: 0}
        own[str(number)] = entry
    return config | {"per_layer_config": own}
