"""Greedy decoding against transformers: a Llama of one shape, random weights.

Run: python experiments/speed/decode.py [--rounds=5] [--json]

V 4096, D 512, L 8, N 8, H 64, F 1408; 32 tokens of prompt, 64 new, batch 1, 16.
Needs `pip install slimjax[peers]`.
"""

from typing import Any

from paired import Remote, best, compare, make_parser, race, write

from slimjax.train.devices import prepare_devices

VOCAB, WIDTH, LAYERS, HEADS, HIDDEN = 4096, 512, 8, 8, 1408
PROMPT, NEW = 32, 64


def main() -> None:
    flags = make_parser("Decoding against transformers", rounds=5).parse_args()
    prepare_devices()
    result = {}
    for batch in (1, 16):
        kinds = ("float32", "bfloat16")
        contenders = {f"slimjax {kind}": make_ours(kind, batch) for kind in kinds}
        contenders |= {
            f"transformers {kind}": Remote(make_theirs, kind, batch) for kind in kinds
        }
        seconds = race(contenders, flags.rounds)
        ours, peer = (
            best(seconds, [name for name in seconds if name.startswith(who)])
            for who in ("slimjax", "transformers")
        )
        speed = {
            name: batch * NEW / sorted(s)[len(s) // 2] for name, s in seconds.items()
        }
        row = {"ours_name": ours, "peer_name": peer, "tokens_per_s": speed}
        result[f"batch {batch}"] = row | compare(seconds[ours], seconds[peer])
    write("decode", result, as_json=flags.json)


def make_ours(dtype: str, batch: int):
    """Returns a function that decodes once."""
    import numpy as np

    from slimjax.generate.decode import generate
    from slimjax.models.config import LayerConfig, ModelConfig
    from slimjax.train.state import init_params

    layer = LayerConfig(HEADS, HEADS, WIDTH // HEADS, HIDDEN)
    config = ModelConfig(VOCAB, WIDTH, (layer,) * LAYERS, dtype=dtype)
    params = init_params(config, 0)
    prompts = list(np.random.default_rng(0).integers(3, VOCAB, (batch, PROMPT)))

    def run() -> None:
        pieces = generate(config, params, prompts, max_new_tokens=NEW, eos_id=-1)
        assert sum(piece.shape[1] for piece in pieces) == NEW

    return run


def make_theirs(dtype: str, batch: int):
    import os

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(os.cpu_count() or 1)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=HIDDEN,
        tie_word_embeddings=True,
        eos_token_id=None,
        pad_token_id=0,
    )
    model: Any = LlamaForCausalLM(config).to(getattr(torch, dtype)).eval()
    tokens = torch.randint(3, VOCAB, (batch, PROMPT))
    options = dict(do_sample=False, max_new_tokens=NEW, min_new_tokens=NEW)
    return lambda: model.generate(tokens, **options)


if __name__ == "__main__":
    main()
