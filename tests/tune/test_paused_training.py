"""Real trainings under claims: paused for longer than a lease, or killed at random."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

LEASE_S, PATIENCE_S = 4.0, 1800.0
NUM_PROCESSES, NUM_KILLS = 3, 3

TRAIN = """
import sys, time
from pathlib import Path
from slimjax.config import override, read_config
from slimjax.store import lock
from slimjax.tune.arms import make_arms
from slimjax.tune.claims import Claims
from slimjax.tune.runner import Runner

host, root, source, seconds, lease_s = sys.argv[1:]
lock._try_lock = lambda *_: True  # As on a file system whose locks are not shared.
changes = [("data.source", source), ("model.num_layers", "1"), ("mesh.data", "1")]
changes += [("train.num_steps", "40"), ("train.save_every_steps", "2")]
config = override(read_config("configs/tiny_test.py"), changes)
(arm,) = make_arms(config, [])
runner = Runner(Path(root), quiet=True)
own = {"lease_s": float(lease_s), "host": host, "say": print}
runner.claims = Claims(Path(root) / "claims", **own)
from slimjax.run.loop import Loop
step = Loop._take_step
def slow_step(*arguments):
    time.sleep(float(seconds))
    return step(*arguments)
Loop._take_step = slow_step
report = runner.attempt(arm.trial(0))
while host == "second" and report is None:
    time.sleep(0.2)
    report = runner.attempt(arm.trial(0))
print("left" if report is None else "finished", flush=True)
"""


def start(host: str, root: Path, text_folder: Path, seconds: float) -> subprocess.Popen:
    words = [
        host,
        str(root),
        f"text:{text_folder}/part1*.txt",
        str(seconds),
        str(LEASE_S),
    ]
    environment = dict(os.environ, NPROC="1", XLA_FLAGS="")
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, *words],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def wait_until(is_so) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_all(root: Path) -> dict[str, bytes]:
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def test_a_training_that_was_paused_writes_nothing_into_the_folder(
    tmp_path, text_folder
):
    run = tmp_path / "base-seed0"
    first = start("first", tmp_path, text_folder, 0.2)
    second = None
    try:
        wait_until(lambda: len(list(run.glob("checkpoints/*/manifest.json"))) > 1)
        os.kill(first.pid, signal.SIGSTOP)
        second = start("second", tmp_path, text_folder, 0.0)
        told = second.communicate(timeout=PATIENCE_S)[0]
        assert "taking over base-seed0 from process" in told
        assert told.endswith("finished\n")
        before = read_all(run)
        os.kill(first.pid, signal.SIGCONT)
        assert first.communicate(timeout=PATIENCE_S)[0].endswith("left\n")
        after = read_all(run)
        assert {name for name in after if after[name] != before.get(name)} == set()
        assert set(before) <= set(after)
        alone = tmp_path / "alone"
        start("alone", alone, text_folder, 0.0).communicate(timeout=PATIENCE_S)
        assert read_hash(run) == read_hash(alone / "base-seed0")
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.wait()


def test_sweeps_that_are_killed_at_random_end_as_one_that_was_not(
    tmp_path, text_folder
):
    """No run is left undone, and what each run's log has is what it has alone."""
    words = [sys.executable, "-m", "slimjax", "sweep"]
    words += ["--config=configs/tiny_test.py", "--config.mesh.data=1"]
    words += [f"--config.data.source=text:{text_folder}/part1*.txt", "--seeds=1"]
    words += [
        "--grid=objective.budget=60%,70%,80%",
        "--config.train.save_every_steps=2",
        # A line of several steps has fewer of them after a restart between two lines.
        "--config.train.log_every_steps=1",
    ]
    environment = dict(os.environ, NPROC="1", XLA_FLAGS="")
    calm, wild = tmp_path / "a" / "s", tmp_path / "b" / "s"

    def run(root: Path) -> subprocess.Popen:
        none = subprocess.DEVNULL
        command = [*words, f"--workdir={root}"]
        return subprocess.Popen(command, stdout=none, stderr=none, env=environment)

    assert run(calm).wait(PATIENCE_S) == 0
    source, kills = random.Random(0), [NUM_KILLS] * NUM_PROCESSES
    processes = [run(wild) for _ in kills]
    while any(kills):
        time.sleep(source.uniform(2.0, 12.0))
        i = source.choice([i for i, left in enumerate(kills) if left])
        processes[i].kill()
        processes[i].wait()
        kills[i] -= 1
        processes[i] = run(wild)
    assert [process.wait(PATIENCE_S) for process in processes] == [0] * NUM_PROCESSES
    runs = sorted(path.parent.name for path in calm.glob("*/report.json"))
    assert len(runs) == 3
    for name in runs:
        steps = [read_steps(root / name) for root in (calm, wild)]
        assert steps[0] == steps[1]
        reports = [
            json.loads((r / name / "report.json").read_text()) for r in (calm, wild)
        ]
        assert reports[0]["state_hash"] == reports[1]["state_hash"]
    assert not list((wild / "claims").rglob("*.json"))


def read_steps(folder: Path) -> list[tuple[int, float]]:
    """Returns the steps that a log has, with their losses: each of them once."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(entry["step"], entry["loss"]) for entry in map(json.loads, lines)]


def read_hash(folder: Path) -> str:
    return json.loads((folder / "report.json").read_text())["state_hash"]
