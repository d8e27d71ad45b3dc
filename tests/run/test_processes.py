"""Law 6 on real processes: two of them, started by the launcher, are one run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slimjax.config import override, read_config
from slimjax.errors import StoppedError
from slimjax.run import start
from slimjax.run.progress import Display
from slimjax.train.config import make_run_config

PATIENT = {"SLIMJAX_HEARTBEAT_SECONDS": "100"}  # The machine may be busy.
CHANGES = {"model.num_layers": "1", "resize.first_step": "6", "resize.every_steps": "6"}
CHANGES |= {"train.num_steps": "16", "train.eval_every_steps": "8"}


def launch(workdir: Path, text_folder: Path, **environment: str) -> subprocess.Popen:
    changes = CHANGES | {"data.source": f"text:{text_folder}/*.txt"}
    command = [sys.executable, "-m", "slimjax", "launch", "--processes=2", "--json"]
    command += ["--", "train", "--config=configs/tiny_test.py", f"--workdir={workdir}"]
    command += [f"--config.{name}={value}" for name, value in changes.items()]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=os.environ | PATIENT | environment, **streams)


def train_here(workdir: Path, text_folder: Path, devices: int, display=None) -> dict:
    changes = CHANGES | {"data.source": f"text:{text_folder}/*.txt"}
    changes |= {"mesh.data": str(devices)}
    config = override(read_config("configs/tiny_test.py"), [*changes.items()])
    display = display or Display(quiet=True)
    return start.train(make_run_config(config), workdir, display=display)


class StopsAfter(Display):
    """Asks its own process to stop, once so many steps are done."""

    def __init__(self, step: int):
        super().__init__(quiet=True)
        self.last_step = step

    def step(self, step: int, *_, **__) -> None:
        if step >= self.last_step:
            os.kill(os.getpid(), signal.SIGTERM)


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_for_line(path: Path, popen: subprocess.Popen) -> None:
    while not (path.exists() and path.read_text()):
        assert popen.poll() is None, popen.communicate()
        time.sleep(0.05)


def find_rank(rank: int, launcher: subprocess.Popen) -> int:
    """Returns the process id of a rank."""
    children = f"/proc/{launcher.pid}/task/{launcher.pid}/children"
    for pid in Path(children).read_text().split():
        if f"JAX_PROCESS_ID={rank}\0" in Path(f"/proc/{pid}/environ").read_text():
            return int(pid)
    raise AssertionError(f"no rank {rank}")


def test_two_processes_stop_together_and_go_on_as_one_and_as_two(tmp_path, text_folder):
    expected = train_here(tmp_path / "whole", text_folder, devices=2)
    workdir = tmp_path / "run"

    two = launch(workdir, text_folder)
    wait_for_line(workdir / "seams.jsonl", two)
    os.kill(find_rank(1, two), signal.SIGTERM)
    out, err = two.communicate(timeout=300)
    assert two.returncode == 128 + signal.SIGTERM, err
    assert "slimjax: SIGTERM: saved at step" in err
    assert "Traceback" not in err
    assert "2 processes have 2 devices." in err
    assert not out

    with pytest.raises(StoppedError):
        train_here(workdir, text_folder, devices=1, display=StopsAfter(12))
    seams = read_lines(workdir / "seams.jsonl")
    assert [seam["step"] for seam in seams] == [6, 12]

    two = launch(workdir, text_folder)
    out, err = two.communicate(timeout=300)
    assert two.returncode == 0, err
    report = json.loads(out.splitlines()[-1])
    assert report["machine"]["num_devices"] == 2
    assert report["train"]["restarts"] == 2
    assert len(report["samples"]) == 3  # Both processes write them together.
    # The sum of a batch goes over one device or two, and so in another order.
    assert report["error"] == pytest.approx(expected["error"], rel=1e-5)
    found = read_lines(workdir / "metrics.jsonl")
    whole = read_lines(tmp_path / "whole" / "metrics.jsonl")
    assert [entry["step"] for entry in found] == [4, 8, 12, 16]
    for one, other in zip(found, whole, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    for one, other in zip(
        seams, read_lines(tmp_path / "whole" / "seams.jsonl"), strict=True
    ):
        assert one["closed"] == other["closed"]


@pytest.mark.slow
def test_two_processes_pack_to_the_same_bytes_as_one(tmp_path, text_folder):
    """From the last checkpoint, so that both have the same weights to the bit."""
    workdir = tmp_path / "run"
    expected = train_here(workdir, text_folder, devices=2)
    packed = workdir / "model.packed.safetensors"
    before = packed.read_bytes()
    packed.unlink()
    (workdir / "report.json").unlink()
    two = launch(workdir, text_folder)
    out, err = two.communicate(timeout=300)
    assert two.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["state_hash"] == expected["state_hash"]
    assert packed.read_bytes() == before


@pytest.mark.slow
def test_a_killed_process_takes_the_others_along_and_is_named(tmp_path, text_folder):
    two = launch(tmp_path / "run", text_folder)
    wait_for_line(tmp_path / "run" / "metrics.jsonl", two)
    os.kill(find_rank(1, two), signal.SIGKILL)
    start = time.monotonic()
    _, err = two.communicate(timeout=60)
    assert time.monotonic() - start < 30
    assert two.returncode == 128 + signal.SIGKILL
    assert "slimjax: rank 1 was killed by SIGKILL; rank 0 ended with it" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_process_that_hangs_is_named(tmp_path, text_folder):
    two = launch(tmp_path / "run", text_folder, SLIMJAX_BARRIER_SECONDS="45")
    wait_for_line(tmp_path / "run" / "metrics.jsonl", two)
    os.kill(find_rank(1, two), signal.SIGSTOP)
    _, err = two.communicate(timeout=200)
    assert two.returncode == 4
    assert "slimjax: Process 1 did not come to " in err
