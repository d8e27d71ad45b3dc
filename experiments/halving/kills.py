"""Three processes of a sweep are each killed twenty times: what is lost, or doubled?

Run: NPROC=1 python experiments/halving/kills.py [--workdir=runs/sweep_kills]
    [--corpus=SOURCE] [--kills=20] [--seeds=12]

Each process lives for a random time. A kill counts if it hit a process that was alive
while trials were still undone. When all kills are done, the processes run to the end.
The script continues where it was stopped: kills so far are in ``kills.jsonl``.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from slimjax.store.files import append_whole, read_json, write_json

PROCESSES = 3
SECONDS = (4.0, 30.0)
"""Between the start of a process and its kill."""

RATES = "1e-3,2e-3,4e-3,8e-3"
HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, default=Path("runs/sweep_kills"))
    parser.add_argument("--corpus", default="stdlib", help="a source of text")
    parser.add_argument("--kills", type=int, default=20, help="of each process")
    parser.add_argument("--seeds", type=int, default=12, help="trials of each arm")
    flags = parser.parse_args()
    assert os.environ.get("NPROC") == "1", "Set NPROC=1."
    whole, killed = flags.workdir / "whole", flags.workdir / "killed"
    flags.workdir.mkdir(parents=True, exist_ok=True)
    assert start(flags, whole).wait() == 0
    watch = Watch(flags.workdir / "seen.json", killed)
    kills = kill(flags, killed, watch)
    finish([start(flags, killed) for _ in range(PROCESSES)], watch)
    result = judge(whole, killed, watch) | {"kills": kills}
    write_json(HERE / "results" / "kills.json", result)
    print(json.dumps(result))


def start(flags: argparse.Namespace, root: Path) -> subprocess.Popen:
    """Begins or continues the sweep."""
    command = [sys.executable, "-m", "slimjax", "sweep", f"--workdir={root}"]
    command += ["--config=configs/tiny_test.py", f"--seeds={flags.seeds}"]
    command += [f"--grid=optim.learning_rate={RATES}", "--lease=10s"]
    command += [f"--config.data.source={flags.corpus}", "--config.mesh.data=1"]
    command += ["--config.model.num_layers=1", "--config.train.save_every_steps=4"]
    log = (flags.workdir / "log.txt").open("ab")
    with log:
        return subprocess.Popen(command, stdout=log, stderr=log)


class Watch:
    """Which reports were seen, so that one that is written twice is noticed."""

    def __init__(self, path: Path, root: Path):
        """Continues with what was seen before."""
        self.path, self.root = path, root
        self.seen: dict[str, list[int]] = (
            read_json(path, dict) if path.is_file() else {}
        )
        self.twice: set[str] = set()

    def look(self) -> int:
        """Looks at all reports; returns how many there are."""
        before = len(self.seen)
        for report in self.root.glob("*/report.json"):
            with contextlib.suppress(FileNotFoundError):
                stat, name = report.stat(), report.parent.name
                identity = [stat.st_ino, stat.st_mtime_ns]
                if self.seen.setdefault(name, identity) != identity:
                    self.twice.add(name)
        if len(self.seen) > before:
            write_json(self.path, self.seen)
        return len(self.seen)


def kill(flags: argparse.Namespace, root: Path, watch: Watch) -> list[int]:
    """Runs the processes until each was killed so often; returns how often."""
    path, num_trials = (
        flags.workdir / "kills.jsonl",
        len(RATES.split(",")) * flags.seeds,
    )
    lines = path.read_text().splitlines() if path.is_file() else []
    kills = [lines.count(str(i)) for i in range(PROCESSES)]
    source = random.Random(sum(kills))
    crew: dict[int, tuple[subprocess.Popen, float]] = {}
    try:
        while min(kills) < flags.kills and watch.look() < num_trials:
            for i in (i for i in range(PROCESSES) if i not in crew):
                ends = time.monotonic() + source.uniform(*SECONDS)
                crew[i] = start(flags, root), ends
            for i, (process, ends) in list(crew.items()):
                if process.poll() is not None:
                    del crew[i]
                elif time.monotonic() > ends and kills[i] < flags.kills:
                    end(process)
                    append_whole(path, f"{i}\n".encode())
                    kills[i] += 1
                    del crew[i]
            time.sleep(0.05)
    finally:
        for process, _ in crew.values():
            end(process)
    return kills


def end(process: subprocess.Popen) -> None:
    """Kills a process at once."""
    process.kill()
    process.wait()


def finish(crew: list[subprocess.Popen], watch: Watch) -> None:
    """Waits for processes that run to the end."""
    try:
        while any(process.poll() is None for process in crew):
            watch.look()
            time.sleep(0.5)
        watch.look()
        assert all(process.returncode == 0 for process in crew)
    finally:
        for process in crew:
            end(process)


def judge(whole: Path, killed: Path, watch: Watch) -> dict[str, Any]:
    """Returns what the folders of the trials show."""
    trials = sorted(path.parent for path in whole.glob("*/report.json"))
    folders = [killed / trial.name for trial in trials]
    undone = [f.name for f in folders if not (f / "report.json").is_file()]
    mixed = [folder.name for folder in folders if not is_one_run(folder)]
    return {
        "processes": PROCESSES,
        "trials": len(trials),
        "undone": undone,
        "done_twice": sorted(watch.twice),
        "logs_of_two": mixed,
        "same_sweep_json": read_sweep(whole) == read_sweep(killed),
    }


def is_one_run(folder: Path) -> bool:
    """Whether the log of a trial has each of its steps once, in order."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    return bool(steps) and steps == sorted(set(steps))


def read_sweep(root: Path) -> dict[str, Any]:
    """Returns ``sweep.json`` without its name, and how long runs took."""
    content = read_json(root / "sweep.json", dict)
    del content["name"]
    for arm in content["arms"]:
        for entry in (arm["means"], *arm["trials"]):
            entry.pop("seconds", None)
    return content


if __name__ == "__main__":
    main()
