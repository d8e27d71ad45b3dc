"""A plan, for people."""

from typing import Any

from rich.console import Console
from rich.table import Table

from slimjax.plan.memory import GIB

STEPS = ("start", "slimmed", "decode", "decode_slimmed")
"""Steps of a plan, in the order of its columns."""


def print_plan(plan: dict[str, Any], console: Console) -> None:
    """Prints the table of a plan, a column for each step."""
    steps = {name: plan[name] for name in STEPS if name in plan}
    mesh = ", ".join(f"{axis} {size}" for axis, size in plan["mesh"].items())
    title = f"{plan['topology']}: {plan['num_chips']} chips; mesh {mesh}"
    table = Table("", *steps, title=title, title_justify="left")
    rows = [list_rows(step) for step in steps.values()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_row(name, *(row.get(name, "") for row in rows))
    console.print(table)
    console.print(
        "Bytes and seconds are of one device. The least time is that of the chip's "
        "data sheet, all of it at once; MFU and tokens/s are bounds by it. The "
        "compiler's own time counts the body of a loop once, and no Pallas kernel.",
        style="dim",
    )


def list_rows(step: dict[str, Any]) -> dict[str, str]:
    """Returns the lines of a table about a step, by name."""
    layer, hbm = step["layer"], step["hbm"]
    rows = {
        "layers, width": f"{step['num_layers']} x {layer['width']}",
        "heads, KV heads, MLP": (
            f"{layer['num_heads']}, {layer['num_kv_heads']}, {layer['mlp_dim']}"
        ),
        "parameters": f"{step['params']:,}",
        "FLOPs per step": f"{step['flops']:.4g}",
    }
    for kind, count in step["state_bytes"].items():
        rows[f"{kind}, all / a device"] = f"{gib(count['total'])} / " + gib(
            count["device"]
        )
    for kind in ("arguments", "temporaries", "outputs", "code"):
        if kind in hbm:
            rows[f"HBM: {kind}"] = gib(hbm[kind])
    capacity = gib(hbm["capacity"])
    rows["HBM: total"] = f"{gib(hbm['total'])} of {capacity}, {judge(step['fits'])}"
    if "saving_bytes" in step:
        size = step["saving_bytes"]
        verdict = judge(size <= hbm["capacity"])
        rows["HBM: while saving"] = f"{gib(size)} of {capacity}, {verdict}"
    return rows | (list_times(step) if "roofline" in step else {})


def judge(fits: bool) -> str:
    """Returns in words whether memory is enough."""
    return "fits" if fits else "does NOT fit"


def list_times(step: dict[str, Any]) -> dict[str, str]:
    """Returns the lines of a table about a compiled step's work and time."""
    roofline, rows = step["roofline"], {}
    for kind, count in step["collectives"].items():
        if count["count"]:
            rows[f"sent by {kind}"] = f"{gib(count['bytes'])} in {count['count']}"
    seconds = step["compiler_seconds"]
    return rows | {
        "FLOPs executed / needed": f"{step['flops_executed'] / step['flops']:.3f}",
        "least time: products and kernels": f"{roofline['compute_s']:.4f} s",
        "least time: HBM": f"{roofline['hbm_s']:.4f} s",
        "least time: ICI": f"{roofline['ici_s']:.4f} s",
        "least time": f"{roofline['seconds']:.4f} s ({roofline['bound']})",
        "MFU, at most": f"{step['mfu_bound']:.1%}",
        "tokens/s, at most": f"{step['tokens_per_s_bound']:,.0f}",
        "compiler's optimal_seconds": f"{seconds:.4f} s" if seconds else "none",
        "compiled in": f"{step['compile_seconds']:.0f} s",
        "compiled in, CPU time": f"{step['compile_cpu_seconds']:.0f} s",
    }


def gib(num_bytes: float) -> str:
    """Returns bytes in GiB.

    Examples:
        >>> gib(3 * 2**29), gib(2**20)
        ('1.50 GiB', '0.00098 GiB')
    """
    size = num_bytes / GIB
    return f"{size:.2f} GiB" if size >= 0.01 else f"{size:.2g} GiB"
