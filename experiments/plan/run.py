"""Plans of real sizes on real pods, before and after a uniform cut to half.

Steps of training, and of decoding one token for many rows.

Run: python experiments/plan/run.py [--quick] [1b-v5e 8b-v5p 8b-v6e 70b-v5p]
Each plan is a process of its own and a file in ``results/``; then the README's tables
are made anew from all files. Plans of ``--quick`` are told apart in both.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
PEER = FOLDER / "maxtext-1b-v5e.json"
STEPS, DECODE_STEPS = ("start", "slimmed"), ("decode", "decode_slimmed")
RESOURCES = ("compute", "hbm", "ici")
PLANS = {  # Config, slice, and rows to decode: as many as leave some room on a chip.
    "1b-v5e": ("configs/llama_1b.py", "v5e:4x4", 256),
    "8b-v5p": ("configs/llama_8b.py", "v5p:4x4x4", 2048),
    "8b-v6e": ("configs/llama_8b.py", "v6e:16x16", 2048),
    "70b-v5p": ("configs/llama_70b.py", "v5p:8x8x8", 4096),
}


def run_plan(name: str, *, cut: str, quick: bool) -> None:
    config, topology, rows = PLANS[name]
    command = [sys.executable, "-m", "slimjax", "plan", f"--config={config}"]
    command += [f"--topology={topology}", f"--decode={rows}", "--json"]
    command += [f"--after={cut}"] if cut else []
    command += ["--quick"] if quick else []
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{name}: exit code {done.returncode}")
    plan = json.loads(done.stdout.splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    plan |= {"command": " ".join(command[1:]), "quick": quick, "cpu_seconds": cpu}
    plan |= {"seconds": time.perf_counter() - start, "num_cpus": os.cpu_count()}
    plan |= {"peak_gib": after.ru_maxrss / 2**20}
    check(plan)
    path = RESULTS / f"{name}{'-quick' if quick else ''}.json"
    path.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")


def check(plan: dict[str, Any]) -> None:
    """Holds a plan's sizes against our own."""
    steps = [plan[name] for name in STEPS if name in plan]
    for step in steps:
        assert step["params"] == step["params_counted"]
        assert step["state_bytes"]["weights"]["total"] == 4 * step["params"]
        assert step["fits"]
        assert step["work"]["num_kernels"] > 0  # Splash, which only a TPU takes.
        for measure, size in step.get("predicted", {}).items():
            assert abs(step["sizes"][measure] / size - 1) < 1e-3
        # Padding to tiles only adds.
        own = sum(kind["device"] for kind in step["state_bytes"].values())
        assert 0.99 < step["hbm"]["arguments"] / own < 1.2
    assert all(plan[name]["fits"] for name in DECODE_STEPS if name in plan)


def make_rows(plans: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        "| plan | step | parameters | HBM per chip, GiB: state + temporaries, of | "
        "sent per chip, GiB | FLOPs per step | executed | "
        "least time, s: compute, HBM, ICI | MFU, at most | compiled in, s: wall, CPU |",
        "|" + "---|" * 10,
    ]
    return rows + [
        make_row(plan, name, label)
        for label, plan in plans.items()
        for name in STEPS
        if name in plan
    ]


def make_row(plan: dict[str, Any], name: str, label: str) -> str:
    step, gib = plan[name], 2**30
    hbm, line = step["hbm"], step["roofline"]
    sent = sum(kind["bytes"] for kind in step["collectives"].values()) / gib
    times = ", ".join(f"{line[f'{part}_s']:.3f}" for part in RESOURCES)
    cells = [
        f"{label}, {plan['topology']}",
        name,
        f"{step['params']:,}",
        f"{hbm['arguments'] / gib:.2f} + {hbm['temporaries'] / gib:.2f}, "
        f"{hbm['capacity'] / gib:.2f}",
        f"{sent:.1f}",
        f"{step['flops']:.3g}",
        f"{step['flops_executed'] / step['flops']:.2f} x",
        times,
        f"{step['mfu_bound']:.0%}",
        f"{step['compile_seconds']:.0f}, {step['compile_cpu_seconds']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def make_decode_rows(plans: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        "| plan | step | rows | HBM per chip, GiB: weights + cache + temporaries, of | "
        "sent per chip, GiB | least time, ms: compute, HBM, ICI | tokens/s, at most |",
        "|" + "---|" * 7,
    ]
    for label, plan in plans.items():
        for name in DECODE_STEPS:
            if name in plan:
                rows.append(make_decode_row(plan, name, label))
    return rows


def make_decode_row(plan: dict[str, Any], name: str, label: str) -> str:
    step, gib = plan[name], 2**30
    state, hbm, line = step["state_bytes"], step["hbm"], step["roofline"]
    parts = state["weights"]["device"], state["cache"]["device"], hbm["temporaries"]
    sent = sum(kind["bytes"] for kind in step["collectives"].values()) / gib
    cells = [
        f"{label}, {plan['topology']}",
        name,
        f"{step['tokens']:,}",
        " + ".join(f"{part / gib:.2f}" for part in parts)
        + f", {hbm['capacity'] / gib:.2f}",
        f"{sent:.3f}",
        ", ".join(f"{1e3 * line[f'{part}_s']:.1f}" for part in RESOURCES),
        f"{step['tokens_per_s_bound']:,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def make_peer_rows(ours: dict[str, Any], peer: dict[str, Any]) -> list[str]:
    sent = lambda step: sum(kind["bytes"] for kind in step["collectives"].values())
    cells = {
        "HBM per chip: state, GiB": lambda s: f"{s['hbm']['arguments'] / 2**30:.2f}",
        "HBM per chip: temporaries, GiB": (
            lambda s: f"{s['hbm']['temporaries'] / 2**30:.2f}"
        ),
        "FLOPs executed": lambda s: f"{s['flops_executed']:.4g}",
        "moved through a chip's HBM, GB": (
            lambda s: f"{s['work']['hbm_bytes'] / 1e9:.0f}"
        ),
        "sent per chip, GiB": lambda s: f"{sent(s) / 2**30:.1f}",
        "least time, s: compute, HBM, ICI": lambda s: ", ".join(
            f"{s['roofline'][f'{part}_s']:.3f}" for part in RESOURCES
        ),
        "compiled in, s of CPU time": lambda s: f"{s['compile_cpu_seconds']:.0f}",
    }
    rows = ["| 1.24 B weights, v5e:4x4 | slimjax | MaxText |", "|" + "---|" * 3]
    return rows + [
        f"| {name} | {tell(ours)} | {tell(peer)} |" for name, tell in cells.items()
    ]


def write_tables() -> None:
    """Makes the tables of the README anew, each between two marks of its name."""
    paths = sorted(RESULTS.glob("*.json"))
    plans = {path.stem: json.loads(path.read_text("utf-8")) for path in paths}
    tables = {"train": make_rows(plans), "decode": make_decode_rows(plans)}
    if PEER.exists() and "1b-v5e" in plans:
        peer = json.loads(PEER.read_text("utf-8"))
        tables["peer"] = make_peer_rows(plans["1b-v5e"]["start"], peer)
    readme = FOLDER / "README.md"
    text = readme.read_text("utf-8")
    for name, rows in tables.items():
        before, _, rest = text.partition(f"<!-- {name} -->")
        after = rest.partition(f"<!-- {name} -->")[2]
        table = "\n".join(rows)
        text = f"{before}<!-- {name} -->\n{table}\n<!-- {name} -->{after}"
    readme.write_text(text, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(PLANS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--after", default="50%", help="the cut; empty for none")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    flags = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for name in [] if flags.table else flags.names:
        run_plan(name, cut=flags.after, quick=flags.quick)
    write_tables()


if __name__ == "__main__":
    main()
