"""Attention, forward and backward, against PyTorch's and against JAX's own.

Run: python experiments/speed/attention.py [--rounds=9] [--lengths=256,1024,4096]
         [--json]

Causal, B 4, N 8, H 64, each type of operands against its own kind, and the share of the
measured peak that is reached. JAX's own holds the T x T weights, and is left out at
4,096, with the blocked formula. Needs `pip install slimjax[peers]`.
"""

import os

from paired import Remote, compare, make_parser, race, write
from roofline import peaks, reach, split_peaks

from slimjax.train.devices import prepare_devices

BATCH, HEADS, WIDTH = 4, 8, 64
PEERS = {"torch": "torch SDPA", "jax.nn": "jax.nn.dot_product_attention"}


def main() -> None:
    parser = make_parser("Attention against PyTorch", rounds=9)
    parser.add_argument("--lengths", default="256,1024,4096")
    flags = parser.parse_args()
    prepare_devices()
    result, tops = {}, {dtype: peaks(dtype) for dtype in ("float32", "bfloat16")}
    for length in map(int, flags.lengths.split(",")):
        for dtype in tops:
            entrants = contenders(length, dtype) | tops[dtype]
            seconds, best = split_peaks(race(entrants, flags.rounds))
            # Forward 2 products, backward 4, of which half are masked.
            flops = 6 * BATCH * HEADS * length**2 * WIDTH
            middle = {name: sorted(s)[len(s) // 2] for name, s in seconds.items()}
            for peer, name in PEERS.items():
                if peer in seconds:
                    row = compare(seconds["native"], seconds[peer])
                    row |= reach(row, flops, best[dtype])
                    row = {"peer_name": name, "seconds": middle} | row
                    result[f"T {length} {dtype}, {peer}"] = row
    write("attention", result, as_json=flags.json)


def contenders(length: int, dtype: str) -> dict:
    import jax
    import jax.numpy as jnp

    from slimjax.nn.attention_blocked import attend_blocked
    from slimjax.nn.attention_native import attend_native

    keys = jax.random.split(jax.random.key(0), 4)
    shape = (BATCH, length, HEADS, WIDTH)
    *inputs, slope = (jax.random.normal(key, shape) for key in keys)

    def own(query, key, value):
        arrays = (x.astype(dtype) for x in (query, key, value))
        return jax.nn.dot_product_attention(*arrays, is_causal=True).astype(jnp.float32)

    def pulled(attend):
        def run(query, key, value, slope):
            out, pull = jax.vjp(attend, query, key, value)
            return out, pull(slope)

        jitted = jax.jit(run)
        return lambda: jax.block_until_ready(jitted(*inputs, slope))

    out = {
        "native": pulled(lambda *x: attend_native(*x, dtype=dtype)),
        "torch": Remote(torch_attention, length, dtype),
    }
    if length > 1024:
        return out
    blocked = pulled(lambda *x: attend_blocked(*x, dtype=dtype))
    return out | {"blocked": blocked, "jax.nn": pulled(own)}


def torch_attention(length: int, dtype: str):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(os.cpu_count() or 1)
    kind = getattr(torch, dtype)
    shape = (BATCH, HEADS, length, WIDTH)
    slope = torch.randn(shape, dtype=kind)
    inputs = [torch.randn(shape, dtype=kind, requires_grad=True) for _ in range(3)]
    query, key, value = inputs

    def run():
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return torch.autograd.grad(out, inputs, slope)

    return run


if __name__ == "__main__":
    main()
