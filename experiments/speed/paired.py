"""Times contenders in turn, A B A B, and tells how many times faster one is.

A machine that others share runs now faster, now slower; in one round all contenders
meet the same machine, so a ratio is taken in each round, and the middle one reported
with the 10th and 90th percentile. Peers run in processes of their own, asleep unless it
is their turn.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(os.path.relpath(Path(__file__).parent))

Contenders = Mapping[str, Callable[[], Any]]


def make_parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """Returns the flags that all experiments share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", action="store_true")
    return parser


def race(contenders: Contenders, rounds: int) -> dict[str, list[float]]:
    """Returns the seconds of each contender in each round, after one to warm up."""
    seconds = {name: [] for name in contenders}
    for i in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if i:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def compare(ours: list[float], peer: list[float]) -> dict[str, float]:
    """Returns how many times faster we are: middle, and where four of five rounds lie.

    Examples:
        >>> compare([1.0, 1.0, 2.0], [2.0, 2.0, 4.0])["ratio"]
        2.0
    """
    ratios = sorted(b / a for a, b in zip(ours, peer, strict=True))
    return {
        "ours": statistics.median(ours),
        "peer": statistics.median(peer),
        "ratio": statistics.median(ratios),
        "low": ratios[round(0.1 * (len(ratios) - 1))],
        "high": ratios[round(0.9 * (len(ratios) - 1))],
    }


class Remote:
    """A contender in a process of its own, where nothing of ours is loaded or set."""

    def __init__(self, make: Callable[..., Callable[[], Any]], *args: Any):
        """Starts the process, which calls ``make(*args)()`` each time it is asked."""
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs, make, args), daemon=True).start()

    def __call__(self) -> None:
        """Has it run once, and waits for the end."""
        self.pipe.send("run")
        self.pipe.recv()

    def show(self) -> Any:
        """Has it run once, and returns what it returns."""
        self.pipe.send("show")
        return self.pipe.recv()


def _serve(pipe: Any, make: Callable[..., Callable[[], Any]], args: tuple) -> None:
    run = make(*args)
    try:
        while request := pipe.recv():
            result = run()
            pipe.send(result if request == "show" else None)
    except (EOFError, KeyboardInterrupt):
        return  # Whoever asked is gone.


def best(seconds: Mapping[str, list[float]], names: list[str]) -> str:
    """Returns the name with the least middle time."""
    return min(names, key=lambda name: statistics.median(seconds[name]))


def write(name: str, result: dict[str, Any], *, as_json: bool) -> None:
    """Keeps a result in results/, and prints it."""
    result = _rounded(result) | {"machine": machine()}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if as_json else json.dumps(result, indent=1))


def machine() -> dict[str, Any]:
    """Returns what the figures depend on."""
    import jax

    cpu = ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        cpu = next((x.split(":")[1] for x in lines if x.startswith("model name")), "")
        cpu += " with AMX" if any("amx_bf16" in x for x in lines) else ""
    return {
        "cpu": cpu.strip() or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(x) for key, x in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
