"""Real sweeps in several processes end as they do in one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def arguments(root: Path, text_folder: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "slimjax", "sweep"),
        "--config=configs/tiny_test.py",
        f"--config.data.source=text:{text_folder}/part1*.txt",
        "--config.model.num_layers=1",
        "--config.objective.strategy=none",
        "--config.objective.budget=",
        "--config.optim.warmup_steps=2",
        "--config.train.num_steps=36",
        f"--workdir={root}",
        "--seeds=1",
        *more,
    ]


def run(command: list[str]) -> str:
    """Runs a command with one thread, as bit for bit needs."""
    environment = dict(os.environ, NPROC="1", XLA_FLAGS="")
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(root: Path) -> dict:
    """Returns ``sweep.json`` without how long runs took."""
    sweep = json.loads((root / "sweep.json").read_text())
    for arm in sweep["arms"]:
        for entry in (arm["means"], *arm["trials"]):
            entry.pop("seconds", None)
    return sweep


@pytest.mark.slow
@pytest.mark.parametrize("halving", [["--halving=3"], []])
def test_submitted_workers_end_with_the_same_file(tmp_path, text_folder, halving):
    rates = "--grid=optim.learning_rate=1e-5,3e-3,1e-4"
    alone, submitted = tmp_path / "a" / "s", tmp_path / "b" / "s"
    run(arguments(alone, text_folder, rates, *halving))
    workers = ["--submit=local", "--workers=2", "--wait"]
    told = run(arguments(submitted, text_folder, rates, *halving, *workers))
    assert told.startswith("jobs: ")
    assert read(submitted) == read(alone)
    assert {t["state"] for a in read(alone)["arms"] for t in a["trials"]} == (
        {"finished", "stopped"} if halving else {"finished"}
    )
    if halving:
        (best,) = read(alone)["halving"]["rounds"][0]["promoted"]
        assert best == "learning_rate=3e-3"
        report = json.loads((alone / f"{best}-seed0" / "report.json").read_text())
        assert report["train"]["steps"] == 36
        assert report["train"]["flops_inherited"] > 0
