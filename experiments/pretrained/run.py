"""All figures of SmolLM2-135M: smaller after one calibration, without training.

Run: python experiments/pretrained/run.py --jobs=4 --model=DIR --novels=DIR
--workdir=DIR

It continues where it was stopped: what lies in the workdir is not made again.
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
REST = (
    "structure.py --arm=ours",
    "sizes.py --arm=ours",
    *(f"sizes.py --arm=prune-round --bits={b}" for b in (2, 3, 4)),
    *(f"sizes.py --arm=round-prune --bits={b}" for b in (2, 3, 4)),
    *(f"bits.py --arm=ours --bits={b}" for b in BITS),
    *(f"bits.py --arm=ours-alike --bits={b}" for b in BITS),
    *(f"bits.py --arm=ours-sublayers --bits={b}" for b in BITS[:3]),
    "structure.py --arm=ours --calibration=both",
    *(f"structure.py --arm={a}" for a in ("wanda", "wanda-alike", "flap", "layers")),
    *(f"structure.py --arm={a}" for a in ("magnitude", "magnitude-alike")),
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
"""What is measured, the most needed first."""


def start(command: str, shared: list[str], logs: Path) -> tuple[str, int, float]:
    """Runs one command; returns it, its exit code and its seconds."""
    begun, (page, *flags) = time.perf_counter(), command.split()
    log = logs / f"{command.replace(' ', '_').replace('--', '')}.log"
    with log.open("w") as file:
        words = [sys.executable, str(HERE / page), *flags, *shared]
        code = subprocess.run(words, stdout=file, stderr=file, check=False).returncode
    seconds = time.perf_counter() - begun
    print(f"{seconds:7.1f} s, exit code {code}: {command}", flush=True)
    return command, code, seconds


def main() -> None:
    """Runs all commands, several at the same time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="commands at a time")
    parser.add_argument("--only", default="", help="commands with this word")
    flags, shared = parser.parse_known_args()
    workdir = next(f for f in shared if f.startswith("--workdir=")).partition("=")[2]
    logs = Path(workdir) / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    cache = str(Path(workdir).absolute() / "compiled")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", cache)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    threads = str(max(1, (os.cpu_count() or 1) // flags.jobs))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", threads)
    run = lambda command: start(command, shared, logs)
    chosen = lambda commands: [c for c in commands if flags.only in c]
    with ThreadPoolExecutor(min(flags.jobs, len(FIRST))) as pool:
        done = list(pool.map(run, FIRST))
    with ThreadPoolExecutor(flags.jobs) as pool:
        done += pool.map(run, chosen(REST))
    failed = [command for command, code, _ in done if code]
    print(f"{len(done)} commands, {len(failed)} failed: {failed}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
