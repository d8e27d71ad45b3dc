"""On one GPU: a training step and attention against PyTorch on the same card.

Run: python experiments/speed/gpu.py [--rounds=15] [--only=step|attention] [--tiny]

The step: a decoder of 273 M parameters, V 32,768, D 2,048, L 4, N 16, H 128, F 5,632,
T 2,048, B 8; products in bfloat16, float32 master weights, AdamW and clipping on both
sides. Beside it our step of the same decoder with half of its heads and MLP units, as
after a seam. Attention forward and backward: B 8, N 16, H 64, bfloat16, causal, and
with padding (rows have 100, 85, 70 and 55 % of T). `--tiny` tries it on any machine,
and keeps no result.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from attention import FILLED, real_length
from paired import Contenders, Remote, best, compare, make_parser, race, write
from step import make_run, make_step

from slimjax.nn.attention_kernels import attend
from slimjax.run.blueprints import expected_blueprint
from slimjax.train.devices import prepare_devices

SHAPE = dict(vocab=32_768, width=2_048, layers=4, heads=16, head_dim=128, hidden=5_632)
TINY = dict(vocab=512, width=64, layers=2, heads=4, head_dim=16, hidden=128)
KINDS = ("causal", "padded")


def main() -> None:
    parser = make_parser("A training step on a GPU", rounds=15)
    parser.add_argument("--only", default="", choices=["", "step", "attention"])
    parser.add_argument("--tiny", action="store_true")
    flags = parser.parse_args()
    prepare_devices()
    result = {"device": jax.devices()[0].device_kind}
    parts = {"step": time_steps, "attention": time_attention}
    for name, time_part in parts.items():
        if flags.only in ("", name):
            result |= time_part(flags.rounds, tiny=flags.tiny)
            if not flags.tiny:
                write("gpu", result, as_json=flags.json)
    if flags.tiny:
        print(json.dumps(result))


def time_steps(rounds: int, *, tiny: bool) -> dict:
    """Returns tokens a second, and our times against PyTorch's best."""
    shape = TINY if tiny else SHAPE
    length, batch = (64, 2) if tiny else (2_048, 8)
    half = {name: shape[name] // 2 for name in ("heads", "hidden")}
    whole, less = (changes_of(s, length, batch) for s in (shape, shape | half))
    contenders = {
        "slimjax": make_step("bfloat16", **whole),
        "slimjax, half": make_step("bfloat16", **less),
        "torch eager": Remote(torch_step, shape, length, batch, False),
        "torch compile": Remote(torch_step, shape, length, batch, True),
    }
    compile_all(contenders)
    seconds = race(contenders, rounds)
    peer = best(seconds, ["torch eager", "torch compile"])
    middle = {name: sorted(times)[len(times) // 2] for name, times in seconds.items()}
    flops = 3 * expected_blueprint(make_run("bfloat16", **whole)).sizes["flops"]
    speed = {name: batch * length / time for name, time in middle.items()}
    tflops = {name: flops * speed[name] / 1e12 for name in ("slimjax", peer)}
    row = {"peer_name": peer} | compare(seconds["slimjax"], seconds[peer])
    slimmed = compare(seconds["slimjax, half"], seconds["slimjax"])
    return {"tokens_per_s": speed, "tflop_per_s": tflops, "step": row, "half": slimmed}


def compile_all(contenders: Contenders) -> None:
    """Runs each once, at the same time, since compiling them takes long."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda run: run(), contenders.values()))


def changes_of(shape: dict, length: int, batch: int) -> dict:
    """Returns what `step.make_run` changes for another shape."""
    names = {"width": "width", "layers": "num_layers", "heads": "num_heads"}
    names |= {"head_dim": "head_dim", "hidden": "mlp_dim"}
    model = {f"model__{own}": shape[name] for name, own in names.items()}
    data = dict(data__vocab_size=shape["vocab"], data__seq_len=length)
    return model | data | dict(data__batch_size=batch)


def torch_step(shape: dict, length: int, batch: int, compiled: bool):
    import torch
    import torch_peer

    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch_peer.make_step(
        shape | {"length": length},
        batch,
        compiled=compiled,
        bfloat16=True,
        device=device,
    )


def time_attention(rounds: int, *, tiny: bool) -> dict:
    """Returns our times against those of PyTorch's fused attention."""
    lengths = (128,) if tiny else (1_024, 4_096)
    size = (2, 4, 16) if tiny else (8, 16, 64)
    result = {}
    for kind in KINDS:
        for length in lengths:
            contenders = {
                "slimjax": attention(kind, length, size),
                "torch": Remote(torch_attention, kind, length, size),
            }
            seconds = race(contenders, rounds)
            row = compare(seconds["slimjax"], seconds["torch"])
            result[f"attention {kind} T {length}"] = row
    return result


def rows_of(length: int, batch: int) -> np.ndarray:
    """Returns [B T]: which positions are no padding."""
    lengths = [real_length(FILLED[i % len(FILLED)], length) for i in range(batch)]
    return np.arange(length)[None] < np.array(lengths)[:, None]


def attention(kind: str, length: int, size: tuple[int, int, int], calls: int = 10):
    """Returns a function that runs our attention some times, there and back."""
    batch, heads, width = size
    keys = jax.random.split(jax.random.key(0), 4)
    make = lambda key: jax.random.normal(key, (batch, length, heads, width))
    *inputs, slope = (make(key) for key in keys)
    inputs = [x.astype(jnp.bfloat16) for x in inputs]
    options: dict = {"causal": kind == "causal"}
    if kind == "padded":
        real = jnp.asarray(rows_of(length, batch), jnp.int32)
        options |= {"query_segments": real, "key_segments": real}

    @jax.jit
    def run(query, key, value, slope):
        mix = lambda *x: attend(*x, **options, impl="auto", dtype="bfloat16")
        out, pull = jax.vjp(mix, query, key, value)
        return out, pull(slope)

    def some():
        jax.block_until_ready([run(*inputs, slope) for _ in range(calls)])

    return some


def torch_attention(
    kind: str, length: int, size: tuple[int, int, int], calls: int = 10
):
    import torch
    import torch.nn.functional as F

    batch, heads, width = size
    device = "cuda" if torch.cuda.is_available() else "cpu"
    make = lambda: torch.randn(
        (batch, heads, length, width), dtype=torch.bfloat16, device=device
    )
    slope = make()
    query, key, value = inputs = [make().requires_grad_() for _ in range(3)]
    mask = None
    if kind == "padded":
        mask = torch.tensor(rows_of(length, batch), device=device)[:, None, None]

    def run():
        for _ in range(calls):
            out = F.scaled_dot_product_attention(
                *(query, key, value), attn_mask=mask, is_causal=kind == "causal"
            )
            torch.autograd.grad(out, inputs, slope)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    main()
