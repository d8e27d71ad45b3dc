"""A tune that is killed at random times and finished by two processes is the same.

Run: python experiments/tune/kills.py [--workdir=runs/tune] [--kills=20]

The environment must have NPROC=1, so that sums on a CPU have one order.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import recipe

from slimjax.store.files import write_json

SECONDS = (2.0, 40.0)
"""Between a start and a kill."""


def main() -> None:
    parser = recipe.make_parser(__doc__)
    parser.add_argument("--kills", type=int, default=20)
    flags = parser.parse_args()
    assert os.environ.get("NPROC") == "1", "Set NPROC=1."
    whole, killed = (flags.workdir / "kills" / name for name in ("whole", "killed"))
    start(whole).wait()
    shutil.rmtree(killed, ignore_errors=True)
    rng, kills = random.Random(0), 0
    while kills < flags.kills and not (killed / "tune.json").is_file():
        process = start(killed)
        time.sleep(rng.uniform(*SECONDS))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    for process in [start(killed), start(killed)]:
        assert process.wait() == 0
    same = (whole / "tune.json").read_bytes() == (killed / "tune.json").read_bytes()
    write_json(recipe.RESULTS / "kills.json", {"kills": kills, "same": same})


def start(root: Path) -> subprocess.Popen:
    """Begins or continues a tune of a tiny config."""
    command = [sys.executable, "-m", "slimjax", "tune"]
    command += [f"--config={recipe.ROOT / 'configs' / 'tiny_test.py'}"]
    command += [f"--workdir={root}", "--sizes=100%,80%,60%", "--folds=2", "--cost=6"]
    command += ["--config.train.num_steps=120", "--refit=none", "--lease=10s"]
    return subprocess.Popen(command)


if __name__ == "__main__":
    main()
