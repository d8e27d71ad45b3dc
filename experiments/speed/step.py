"""One training step against PyTorch: eager and compiled, float32 and bfloat16.

Run: python experiments/speed/step.py [--rounds=15] [--json]

V 4096, D 256, L 6, N 8, H 32, F 704, T 256, B 16; AdamW, clipping, float32 master
weights on both sides; and the share of the measured peak that each reaches (MFU). Needs
`pip install -e '.[peers]'`.
"""

from paired import Remote, best, compare, make_parser, race, write
from roofline import peaks, reach, split_peaks

from slimjax.train.devices import prepare_devices

SHAPE = dict(vocab=4096, width=256, layers=6, heads=8, head_dim=32, hidden=704)
LENGTH, BATCH = 256, 16


def main() -> None:
    flags = make_parser("One training step against PyTorch", rounds=15).parse_args()
    prepare_devices()
    contenders = {f"slimjax {t}": make_step(t) for t in ("float32", "bfloat16")}
    contenders |= torch_steps() | peaks("float32", "bfloat16")
    seconds, peak = split_peaks(race(contenders, flags.rounds))
    tokens = BATCH * LENGTH
    speed = {name: tokens / sorted(s)[len(s) // 2] for name, s in seconds.items()}
    peers = [name for name in seconds if name.startswith("torch")]
    peer = best(seconds, peers)
    pairs = {"against the best": ("slimjax bfloat16", peer)}
    in_float32 = best(seconds, [name for name in peers if "float32" in name])
    pairs["float32 against float32"] = ("slimjax float32", in_float32)
    flops, result = flops_of_a_step(), {}
    for name, (a, b) in pairs.items():
        row = compare(seconds[a], seconds[b])
        row |= reach(row, flops, peak[a.split()[-1]])
        result[name] = {"peer_name": b} | row
    write("step", {"tokens_per_s": speed} | result, as_json=flags.json)


def make_run(dtype: str, **changes):
    from slimjax.train.config import make_run_config

    config = dict(
        data=dict(vocab_size=SHAPE["vocab"], seq_len=LENGTH, batch_size=BATCH),
        model=dict(
            width=SHAPE["width"],
            num_layers=SHAPE["layers"],
            num_heads=SHAPE["heads"],
            head_dim=SHAPE["head_dim"],
            mlp_dim=SHAPE["hidden"],
            dtype=dtype,
        ),
        objective=dict(strategy="none"),
    )
    for name, value in changes.items():
        block, key = name.split("__")
        config.setdefault(block, {})[key] = value
    return make_run_config(config)


def make_step(dtype: str, **changes):
    """Returns a function that takes one of our steps."""
    from slimjax.run.blueprints import expected_blueprint
    from slimjax.train.stage import make_stage

    stage = make_stage(expected_blueprint(make_run(dtype, **changes)))
    return repeat(stage, stage.fresh())


def repeat(stage, state):
    """Returns a function that takes one step of a stage, each time from the last."""
    import jax
    import numpy as np

    holder = {"state": state}
    data = stage.blueprint.run.data
    shape = data.batch_size, data.seq_len
    tokens = np.random.default_rng(0).integers(3, data.vocab_size, shape)
    batch = stage.put({"tokens": tokens.astype(np.int32)})
    train_step = stage.programs.train_step

    def step() -> None:
        holder["state"], metrics = train_step(holder["state"], batch)
        jax.block_until_ready(metrics)

    return step


def flops_of_a_step() -> float:
    """Returns 3 x the forward FLOPs of a batch, attention at half its square."""
    from slimjax.run.blueprints import expected_blueprint

    blueprint = expected_blueprint(make_run("bfloat16"))
    return 3 * blueprint.sizes["flops"] * BATCH * LENGTH


def torch_steps() -> dict:
    return {
        f"torch {kind} {dtype}": Remote(make_torch_step, kind, dtype)
        for kind in ("eager", "compile")
        for dtype in ("float32", "bfloat16")
    }


def make_torch_step(kind: str, dtype: str):
    import os

    import torch
    import torch_peer

    torch.set_num_threads(os.cpu_count() or 1)
    return torch_peer.make_step(
        SHAPE | {"length": LENGTH},
        BATCH,
        compiled=kind == "compile",
        bfloat16=dtype == "bfloat16",
    )


if __name__ == "__main__":
    main()
