"""The fault bench: what goes wrong in a long run, done on purpose, and counted.

Run: python experiments/faults/run.py [--only=NAME,NAME] [--scale=0.1] [--folder=DIR]

It goes on where it was stopped: cases that have been tried stay in ``results/`` (remove
a file to try its cases again, or say --retry for those that failed). The table in
README.md is written from them.
"""

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests" / "faults")]

import forks  # noqa: E402
from bench import Bench, try_cases  # noqa: E402
from crews import CREWS  # noqa: E402
from files import FILES  # noqa: E402
from meshes import MESHES  # noqa: E402
from numerics import NUMBERS  # noqa: E402
from stops import STOPS  # noqa: E402
from table import write_table  # noqa: E402

FAULTS = (*STOPS, *CREWS, *MESHES, *FILES, *NUMBERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names, with commas between them")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the cases")
    parser.add_argument("--folder", default=f"{tempfile.gettempdir()}/slimjax-faults")
    parser.add_argument("--retry", action="store_true", help="failed cases once more")
    flags = parser.parse_args()
    chosen = [name for name in flags.only.split(",") if name]
    unknown = set(chosen) - {fault.name for fault in FAULTS}
    if unknown:
        parser.error(f"unknown: {unknown}; known: {[f.name for f in FAULTS]}")
    folder = Path(flags.folder)
    forks.share_work(folder / "cache")
    bench = Bench(folder)
    for fault in FAULTS:
        if not chosen or fault.name in chosen:
            results = HERE / "results"
            try_cases(fault, bench, flags.scale, results, retry=flags.retry)
    write_table([fault.name for fault in FAULTS])


if __name__ == "__main__":
    main()
