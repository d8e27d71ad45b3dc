"""How near a time is to the fastest product of large matrices measured beside it.

In each round the library multiplies matrices of 2,048 x 2,048, and so does PyTorch
where it is installed. The faster is the peak of its type of numbers. The share that
a contender reaches is its counted FLOPs a second over that peak: for a training step
this is the model FLOPs utilisation, which counts nothing that is computed again.

References:
    Chowdhery et al., "PaLM", 2022, section 4.1 and appendix B (MFU).
"""

import importlib.util
import os
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from paired import Remote

SIZE = 2048


def peaks(*dtypes: str) -> dict[str, Callable[[], Any]]:
    """Returns the contenders for the peak of each type of numbers."""
    out = {}
    for dtype in dtypes:
        out[f"peak {dtype} slimjax"] = make_product(dtype)
        if importlib.util.find_spec("torch"):
            out[f"peak {dtype} torch"] = Remote(make_torch_product, dtype)
    return out


def split_peaks(
    seconds: dict[str, list[float]],
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Returns the seconds of all other contenders, and the peak FLOP/s of each type."""
    rest, best = {}, {}
    for name, times in seconds.items():
        kind, *words = name.split()
        if kind != "peak":
            rest[name] = times
            continue
        speed = 2 * SIZE**3 / statistics.median(times)
        best[words[0]] = max(best.get(words[0], 0.0), speed)
    return rest, best


def reach(row: Mapping[str, Any], flops: float, peak: float) -> dict[str, float]:
    """Returns the share of the peak that each side of a comparison reaches.

    Examples:
        >>> reach({"ours": 0.5, "peer": 1.0}, flops=1e9, peak=4e9)["ours_share"]
        0.5
    """
    return {
        "peak_gflops_per_s": peak / 1e9,
        "ours_share": flops / row["ours"] / peak,
        "peer_share": flops / row["peer"] / peak,
    }


def make_product(dtype: str) -> Callable[[], Any]:
    import jax

    from slimjax.nn.products import product

    x, kernel = (jax.random.normal(jax.random.key(i), (SIZE, SIZE)) for i in (0, 1))
    multiply = jax.jit(lambda x, kernel: product(x, kernel, dtype))
    return lambda: jax.block_until_ready(multiply(x, kernel))


def make_torch_product(dtype: str) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    x, kernel = (torch.randn((SIZE, SIZE), dtype=getattr(torch, dtype)) for _ in "xk")
    return lambda: x @ kernel
