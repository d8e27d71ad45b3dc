"""Greedy decoding against transformers and llama.cpp: one Llama, random weights.

Run: python experiments/speed/decode.py [--rounds=5] [--batch 1 16] [--json]

V 4096, D 512, L 8, N 8, H 64, F 1408; 32 tokens of prompt, 64 new, batch 1, 16. All
contenders have the same weights, and the tokens that each makes are held against those
of ours in float32 first. The floor is the time to read the weights once a token. Rows
of a batch that is not run stay in the result as they were.
Needs transformers and llama.cpp, see README.md.
"""

import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from llama_peer import make_llama, write_gguf
from paired import HERE, Remote, best, compare, make_parser, race, write

from slimjax.train.devices import prepare_devices

VOCAB, WIDTH, LAYERS, HEADS, HIDDEN = 4096, 512, 8, 8, 1408
PROMPT, NEW = 32, 64
PAIRS = {
    "transformers": (
        ("slimjax float32", "slimjax bfloat16"),
        ("transformers float32", "transformers bfloat16"),
    ),
    "16 bits": (("slimjax bfloat16",), ("llama.cpp F16",)),
    "8 bits": (("slimjax int8",), ("llama.cpp Q8_0",)),
}


def main() -> None:
    parser = make_parser("Decoding against its peers", rounds=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    flags = parser.parse_args()
    prepare_devices()
    kept = HERE / "results" / "decode.json"
    result: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        models = make_models(Path(folder))
        for batch in flags.batch:
            prompts = np.random.default_rng(0).integers(3, VOCAB, (batch, PROMPT))
            contenders = make_contenders(models, Path(folder), prompts)
            agreement = compare_tokens(contenders)
            seconds = race(contenders, flags.rounds)
            for name, (ours, theirs) in PAIRS.items():
                own, peer = best(seconds, list(ours)), best(seconds, list(theirs))
                row = {"ours_name": own, "peer_name": peer}
                row |= compare(seconds[own], seconds[peer])
                result[f"batch {batch}, {name}"] = row
            result[f"tokens_per_s, batch {batch}"] = {
                name: batch * NEW / sorted(s)[len(s) // 2]
                for name, s in seconds.items()
            }
            result[f"same_tokens, batch {batch}"] = agreement
    result["floor_ms_per_token"] = {
        name: 1e3 * seconds_to_read(model) for name, model in models.items()
    }
    write("decode", result, as_json=flags.json)


def make_models(folder: Path) -> dict[str, Any]:
    """Returns our model in each format, and leaves its weights for the peers."""
    import jax

    from slimjax.models.cached import freeze_decoder
    from slimjax.models.layer_config import LayerConfig
    from slimjax.models.recipes import decoder
    from slimjax.train.state import init_params
    from slimjax.trees import flatten

    layer = LayerConfig(HEADS, HEADS, WIDTH // HEADS, HIDDEN)
    config = decoder(VOCAB, WIDTH, (layer,) * LAYERS)
    params = jax.device_get(init_params(config, 0))
    for kind in ("F16", "Q8_0"):
        write_gguf(folder / f"{kind}.gguf", config, params, kind)
    leaves = {".".join(path): x for path, x in flatten(params["params"]).items()}
    np.savez(folder / "weights.npz", **leaves)
    formats = ("float32", "bfloat16", "int8")
    return {name: freeze_decoder(config, params, name) for name in formats}


def make_contenders(models: dict, folder: Path, prompts: np.ndarray) -> dict[str, Any]:
    """Returns functions that decode once."""
    contenders: dict[str, Any] = {
        f"slimjax {name}": make_ours(model, prompts) for name, model in models.items()
    }
    for name in ("float32", "bfloat16"):
        path = str(folder / "weights.npz")
        remote = Remote(make_transformers, path, name, prompts, NEW)
        contenders[f"transformers {name}"] = remote
    for name in ("F16", "Q8_0"):
        path = str(folder / f"{name}.gguf")
        contenders[f"llama.cpp {name}"] = Remote(make_llama, path, prompts, NEW)
    return contenders


def compare_tokens(contenders: dict[str, Any]) -> dict[str, float]:
    """Returns the share of tokens that are those of ours in float32.

    Texts that part once stay apart; the first token of all rows must be the same.
    """
    shown = {
        name: run.show() if isinstance(run, Remote) else run()
        for name, run in contenders.items()
    }
    expected = shown["slimjax float32"]
    for name, tokens in shown.items():
        assert tokens.shape == expected.shape, name
        assert (tokens[:, 0] == expected[:, 0]).all(), name
    return {name: float((x == expected).mean()) for name, x in shown.items()}


def make_ours(model: Any, prompts: np.ndarray):
    """Returns a function that decodes once."""
    from slimjax.generate.decode import generate_all

    options: dict[str, Any] = dict(max_new_tokens=NEW, eos_id=-1)
    return lambda: np.stack(generate_all(model, list(prompts), **options))


def make_transformers(path: str, dtype: str, prompts: np.ndarray, num_new: int):
    """Returns a function that decodes once; the input's scale is in its table."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(os.cpu_count() or 1)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=HIDDEN,
        tie_word_embeddings=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    model: Any = LlamaForCausalLM(config)
    model.load_state_dict(dict(renamed(np.load(path))))
    model = model.to(getattr(torch, dtype)).eval()
    tokens = torch.from_numpy(prompts)
    options = dict(do_sample=False, max_new_tokens=num_new, min_new_tokens=num_new)
    mask = torch.ones_like(tokens)
    run = lambda: model.generate(tokens, attention_mask=mask, **options)
    return lambda: run()[:, tokens.shape[1] :].numpy()


def renamed(weights: Any):
    """Yields our weights by the names and in the layout of transformers."""
    import torch

    table = weights["tokens.embedding"]
    found = {"model.embed_tokens": table * WIDTH**0.5, "lm_head": table}
    found["model.norm"] = weights["norm.scale"]
    for i in range(LAYERS):
        ours, theirs = f"layer_{i}", f"model.layers.{i}"
        found[f"{theirs}.input_layernorm"] = weights[f"{ours}.attention.norm.scale"]
        found[f"{theirs}.post_attention_layernorm"] = weights[f"{ours}.mlp.norm.scale"]
        for name in ("query", "key", "value"):
            kernel = weights[f"{ours}.attention.{name}"].reshape(WIDTH, -1)
            found[f"{theirs}.self_attn.{name[0]}_proj"] = kernel.T
        out = weights[f"{ours}.attention.out"].reshape(-1, WIDTH)
        found[f"{theirs}.self_attn.o_proj"] = out.T
        for name in ("gate", "up", "down"):
            found[f"{theirs}.mlp.{name}_proj"] = weights[f"{ours}.mlp.{name}"].T
    for name, weight in found.items():
        yield f"{name}.weight", torch.from_numpy(np.array(weight, np.float32))


def seconds_to_read(model: Any) -> float:
    """Returns the least time in which all cores read a model's weights from memory."""
    import jax

    num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(model))
    num_cores = os.cpu_count() or 1
    parts = [np.ones(num_bytes // num_cores // 8, np.int64) for _ in range(num_cores)]
    times = []
    with ThreadPoolExecutor(num_cores) as threads:
        for _ in range(30):
            start = time.perf_counter()
            list(threads.map(np.max, parts))
            times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
