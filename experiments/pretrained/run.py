"""All figures of SmolLM2-135M, and those of MiniLM if its files are named.

Run: python experiments/pretrained/run.py --jobs=4 --model=DIR --novels=DIR
--workdir=DIR [--gguf=FILE] [--minilm=DIR --onnx=FILE --movies=DIR --faq=FILE]

It continues where it was stopped: what lies in the workdir is not made again. Other
flags go to all commands of SmolLM2.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
FIRST = ("study.py", "study.py --calibration=both")
"""Statistics, which the others share."""

BITS = ("4.5", "3.5", "2.5", "8.5")
STEPS = (
    "sizes.py --arm=ours",
    *(f"sizes.py --arm=prune-round --bits={b}" for b in (2, 3, 4)),
    *(f"sizes.py --arm=round-prune --bits={b}" for b in (2, 3, 4)),
)
"""Packed files by all methods that cut."""

REST = (
    "structure.py --arm=ours",
    *STEPS,
    "vocabulary.py",
    *(f"bits.py --arm=ours --bits={b}" for b in (*BITS, "2.7")),
    *(f"bits.py --arm=ours-alike --bits={b}" for b in BITS),
    *(f"bits.py --arm=ours-sublayers --bits={b}" for b in BITS[:3]),
    "structure.py --arm=ours --calibration=both",
    "vocabulary.py --calibration=both",
    *(f"structure.py --arm={a}" for a in ("wanda", "wanda-alike", "flap", "layers")),
    *(f"structure.py --arm={a}" for a in ("magnitude", "magnitude-alike")),
    "structure.py --arm=torch-pruning,torch-pruning-alike",
    "sizes.py --arm=round --megabytes=50",
    *(f"sizes.py --arm=alike --bits={b}" for b in (2, 3)),
    *(
        f"bits.py --arm={kind}{fit} --bits={b}"
        for b in BITS
        for kind in ("nearest", "nearest-min")
        for fit in ("", "-fitted")
    ),
    "structure.py --arm=ours --rows=960 --slope_rows=192",
)
"""What is measured, the most needed first; then packed files in other conditions."""

ALONE = ("decode.py",)
"""What measures speed: one at a time, at the end."""


def start(command: str, shared: list[str], logs: Path) -> tuple[str, int, float]:
    """Runs one command; returns it, its exit code and its seconds."""
    begun, (page, *flags) = time.perf_counter(), command.split()
    name = command.replace(" ", "_").replace("--", "").replace("/", "_")
    with (logs / f"{name[:120]}.log").open("w") as file:
        words = [sys.executable, str(HERE / page), *flags, *shared]
        code = subprocess.run(words, stdout=file, stderr=file, check=False).returncode
    seconds = time.perf_counter() - begun
    print(f"{seconds:7.1f} s, exit code {code}: {command}", flush=True)
    return command, code, seconds


def list_conditions(flags: argparse.Namespace) -> list[str]:
    """Returns the commands of packed files with fewer rows, healed, and both."""
    rows, heals = f"--kept_rows={flags.kept_rows}", f"--heal_tflop={flags.heal_tflop:g}"
    conditions = rows, heals, f"{rows} {heals}"
    found = [f"sizes.py --arm=round --megabytes=50 {rows}"]
    found += [f"{step} {own}" for own in conditions for step in STEPS]
    return found + [f"sizes.py --arm=ours-whole {own}" for own in conditions[1:]]


def list_optional(flags: argparse.Namespace) -> dict[str, list[str]]:
    """Returns commands that need files of their own, with all of their flags."""
    shared = [f"--novels={flags.novels}", f"--workdir={flags.workdir}"]
    found = {}
    if flags.gguf:
        own = [f"--model={flags.model}", f"--gguf={flags.gguf}", *shared]
        found["gguf_peer.py"] = own
    files = {name: getattr(flags, name) for name in ("onnx", "movies", "faq")}
    if flags.minilm and all(files.values()):
        named = [f"--{name}={path}" for name, path in files.items()]
        own = [f"--model={flags.minilm}", f"--workdir={flags.workdir}", *named]
        found["vectors.py"] = own
    return found


def parse() -> tuple[argparse.Namespace, list[str]]:
    """Returns the flags, and those that all commands get."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="commands at a time")
    parser.add_argument("--only", default="", help="commands with this word")
    parser.add_argument(
        "--kept_rows", type=int, default=16384, help="that all arms keep alike"
    )
    parser.add_argument(
        "--heal_tflop", type=float, default=50.0, help="FLOPs of healing, in 1e12"
    )
    for name in ("model", "novels", "workdir"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("gguf", "minilm", "onnx", "movies", "faq"):
        parser.add_argument(f"--{name}", type=Path)
    flags, shared = parser.parse_known_args()
    names = ("model", "novels", "workdir")
    return flags, [*(f"--{name}={getattr(flags, name)}" for name in names), *shared]


def main() -> None:
    """Runs all commands, several at the same time."""
    flags, shared = parse()
    logs = flags.workdir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    cache = str((flags.workdir / "compiled").absolute())
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", cache)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    threads = str(max(1, (os.cpu_count() or 1) // flags.jobs))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", threads)
    run = lambda command: start(command, shared, logs)
    chosen = lambda commands: [c for c in commands if flags.only in c]
    with ThreadPoolExecutor(min(flags.jobs, len(FIRST))) as pool:
        done = list(pool.map(run, FIRST))
    with ThreadPoolExecutor(flags.jobs) as pool:
        done += pool.map(run, chosen([*REST, *list_conditions(flags)]))
    optional = list_optional(flags)
    done += [start(command, optional[command], logs) for command in chosen(optional)]
    done += map(run, chosen(ALONE))
    failed = [command for command, code, _ in done if code]
    print(f"{len(done)} commands, {len(failed)} failed: {failed}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
