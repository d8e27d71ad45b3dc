"""Attention, forward and backward, against PyTorch's and against JAX's own.

Run: python experiments/speed/attention.py [--rounds=9] [--lengths=256,1024,4096]
         [--cases=causal,both,padded,cross] [--json]

B 4, N 8, H 64, each type of operands against its own kind, and the share of the
measured peak that is reached. The cases:

    causal  a position sees itself and those before it
    both    it sees all
    padded  it sees all that is not padding: rows have 100, 85, 70 and 55 % of T
    cross   T queries see as many keys of another sequence, padded in the same way

JAX's own holds the T x T weights, and is left out at 4,096, with the blocked formula.
Needs `pip install -e '.[peers]'`; without it PyTorch is left out.
"""

import importlib.util
import json
import os

from paired import HERE, Remote, compare, make_parser, race, write
from roofline import peaks, reach, split_peaks

from slimjax.train.devices import prepare_devices

BATCH, HEADS, WIDTH = 4, 8, 64
CASES = ("causal", "both", "padded", "cross")
FILLED = (1.0, 0.85, 0.7, 0.55)
PEERS = {"torch": "torch SDPA", "jax.nn": "jax.nn.dot_product_attention"}


def main() -> None:
    parser = make_parser("Attention against PyTorch", rounds=9)
    parser.add_argument("--lengths", default="256,1024,4096")
    parser.add_argument("--cases", default=",".join(CASES))
    flags = parser.parse_args()
    prepare_devices()
    result, tops = kept(), {dtype: peaks(dtype) for dtype in ("float32", "bfloat16")}
    for case in flags.cases.split(","):
        for length in map(int, flags.lengths.split(",")):
            for dtype in tops:
                entrants = contenders(case, length, dtype) | tops[dtype]
                seconds, best = split_peaks(race(entrants, flags.rounds))
                middle = {name: sorted(s)[len(s) // 2] for name, s in seconds.items()}
                for peer, name in PEERS.items():
                    if peer in seconds:
                        row = compare(seconds["native"], seconds[peer])
                        row |= reach(row, flops_of(case, length), best[dtype])
                        row = {"peer_name": name, "seconds": middle} | row
                        prefix = "" if case == "causal" else f"{case} "
                        result[f"{prefix}T {length} {dtype}, {peer}"] = row
    write("attention", result, as_json=flags.json)


def kept() -> dict:
    """Returns the rows of earlier runs; those of the cases of this run are replaced."""
    path = HERE / "results" / "attention.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def flops_of(case: str, length: int) -> float:
    """Returns the FLOPs of 2 products forward and 4 backward over what is seen."""
    pairs = {"causal": BATCH * length**2 / 2, "both": BATCH * length**2}
    filled = [real_length(share, length) for share in FILLED]
    pairs |= {"padded": sum(n**2 for n in filled), "cross": sum(filled) * length}
    return 12 * HEADS * WIDTH * pairs[case]


def real_length(share: float, length: int) -> int:
    return round(share * length)


def contenders(case: str, length: int, dtype: str) -> dict:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from slimjax.nn.attention_kernels import attend

    keys = jax.random.split(jax.random.key(0), 4)
    shape = (BATCH, length, HEADS, WIDTH)
    *inputs, slope = (jax.random.normal(key, shape) for key in keys)
    lengths = np.array([real_length(share, length) for share in FILLED])
    real = jnp.asarray(np.arange(length)[None] < lengths[:, None], jnp.int32)
    options: dict = {"causal": case == "causal"}
    if case in ("padded", "cross"):
        queries = real if case == "padded" else jnp.ones_like(real)
        options |= {"query_segments": queries, "key_segments": real}

    def own(query, key, value):
        arrays = (x.astype(dtype) for x in (query, key, value))
        lengths_of_keys = None
        if case in ("padded", "cross"):
            lengths_of_keys = jnp.asarray(lengths, jnp.int32)
        return jax.nn.dot_product_attention(
            *arrays,
            is_causal=case == "causal",
            key_value_seq_lengths=lengths_of_keys,
        ).astype(jnp.float32)

    def pulled(attend):
        def run(query, key, value, slope):
            out, pull = jax.vjp(attend, query, key, value)
            return out, pull(slope)

        jitted = jax.jit(run)
        return lambda: jax.block_until_ready(jitted(*inputs, slope))

    def ours(impl):
        return pulled(lambda *x: attend(*x, **options, impl=impl, dtype=dtype))

    out = {"native": ours("native")}
    if importlib.util.find_spec("torch"):
        out["torch"] = Remote(torch_attention, case, length, dtype)
    if length > 1024:
        return out
    return out | {"blocked": ours("blocked"), "jax.nn": pulled(own)}


def torch_attention(case: str, length: int, dtype: str):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(os.cpu_count() or 1)
    kind = getattr(torch, dtype)
    shape = (BATCH, HEADS, length, WIDTH)
    slope = torch.randn(shape, dtype=kind)
    inputs = [torch.randn(shape, dtype=kind, requires_grad=True) for _ in range(3)]
    query, key, value = inputs
    mask = None
    if case in ("padded", "cross"):
        lengths = torch.tensor([real_length(share, length) for share in FILLED])
        mask = torch.arange(length)[None] < lengths[:, None]
        mask = mask[:, None, None]  # B 1 1 S: the padding of keys, as encoders pass it.

    def run():
        out = F.scaled_dot_product_attention(
            *(query, key, value), attn_mask=mask, is_causal=case == "causal"
        )
        return torch.autograd.grad(out, inputs, slope)

    return run


if __name__ == "__main__":
    main()
