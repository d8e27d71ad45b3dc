"""Laws 7 and 9: a run is a function of its config, wherever it was interrupted."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from slimjax.config import override, read_config
from slimjax.errors import StoppedError
from slimjax.run import loop, start
from slimjax.run.progress import Display
from slimjax.store.faults import VARIABLE
from slimjax.train.config import make_run_config

ONE_THREAD = {"NPROC": "1", "JAX_NUM_CPU_DEVICES": "1"}


def command(workdir, text_folder, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "slimjax", "train"),
        "--config=configs/tiny_test.py",
        f"--config.data.source=text:{text_folder}/*.txt",
        f"--workdir={workdir}",
        *more,
    ]


def run(
    workdir, text_folder, *more: str, fault: str = ""
) -> subprocess.CompletedProcess:
    environment = os.environ | ONE_THREAD | {VARIABLE: fault}
    return subprocess.run(
        command(workdir, text_folder, *more),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )


def read_report(workdir) -> dict:
    return json.loads((workdir / "report.json").read_text())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, text_folder):
    workdir = tmp_path_factory.mktemp("runs") / "uninterrupted"
    done = run(workdir, text_folder)
    assert done.returncode == 0, done.stderr
    return workdir


def test_a_run_leaves_all_that_it_promises(uninterrupted):
    names = {path.name for path in uninterrupted.iterdir()}
    assert {
        *("config.json", "architecture.json", "metrics.jsonl", "seams.jsonl"),
        *("report.json", "report.html", "model.packed.safetensors", "checkpoints"),
        *("events", "tokenizer"),
    } <= names
    report = read_report(uninterrupted)
    assert report["size"]["params_fraction"] <= 0.6
    assert report["size"]["packed_file_bytes"] == pytest.approx(
        report["size"]["bytes"], rel=0.01
    )
    assert len(report["stages"]) == 3
    assert report["train"]["flops_total"] > 0
    lines = (uninterrupted / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["step"] for entry in entries] == [4, 8, 12, 16, 20, 24]
    assert {"loss", "bits_per_byte", "params", "alpha", "tokens_per_s"} <= set(
        entries[0]
    )
    assert "valid_bits_per_byte" in entries[2]
    for name in ("config.json", "report.json", "metrics.jsonl", "seams.jsonl"):
        assert str(uninterrupted) not in (uninterrupted / name).read_text()


def test_seams_cut_what_was_closed_and_nothing_else(uninterrupted):
    seams = [
        json.loads(line)
        for line in (uninterrupted / "seams.jsonl").read_text().splitlines()
    ]
    assert len(seams) == 2
    for seam in seams:
        assert seam["taken"]
        assert seam["params_after"] < seam["params_before"]
        assert seam["closed_cut_max_abs_diff"] < 1e-4


SLOW = pytest.mark.slow
POINTS = [
    pytest.param("step@9", marks=SLOW),  # Before the first checkpoint at a seam is old.
    pytest.param("checkpoint-arrays@2", marks=SLOW),  # Arrays written, no manifest.
    pytest.param("seam-inside@1", marks=SLOW),  # Decided, not cut.
    "seam-after@2",  # Cut, not saved.
    pytest.param("checkpoint-remove@1", marks=SLOW),  # An old one half removed.
]


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_run_goes_on_to_the_same_bits(
    tmp_path, text_folder, uninterrupted, point
):
    workdir = tmp_path / "run"
    killed = run(workdir, text_folder, fault=point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (workdir / "report.json").exists()
    resumed = run(workdir, text_folder)
    assert resumed.returncode == 0, resumed.stderr
    expected, actual = read_report(uninterrupted), read_report(workdir)
    assert actual["state_hash"] == expected["state_hash"]
    assert actual["train"]["flops_total"] == expected["train"]["flops_total"]
    steps = [
        json.loads(line)["step"]
        for line in (workdir / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == sorted(set(steps))
    assert len((workdir / "seams.jsonl").read_text().splitlines()) == 2


def test_a_signal_at_the_very_end_is_not_swallowed(tmp_path, text_folder, monkeypatch):
    source = f"text:{text_folder}/*.txt"
    changes = [("data.source", source), ("mesh.data", "1"), ("train.num_steps", "11")]
    changes += [("objective.strategy", "none"), ("objective.budget", "")]
    config = override(read_config("configs/tiny_test.py"), changes)

    make_report = loop.make_report

    def signal_and_report(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return make_report(*arguments, **options)

    monkeypatch.setattr(loop, "make_report", signal_and_report)
    with pytest.raises(StoppedError, match="its report is written") as caught:
        start.train(
            make_run_config(config), tmp_path / "run", display=Display(quiet=True)
        )
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert read_report(tmp_path / "run")["train"]["finished"]


@pytest.mark.slow
def test_gates_that_move_by_themselves_meet_a_budget_too(tmp_path, text_folder):
    changes = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
    changes += [("objective.strategy", "size_penalty"), ("train.num_steps", "17")]
    changes += [("objective.gate_learning_rate", "0.05")]
    config = override(read_config("configs/tiny_test.py"), changes)
    with Display(quiet=True) as display:
        report = start.train(make_run_config(config), tmp_path / "run", display=display)
    assert 0.5 < report["size"]["params_fraction"] <= 0.6
    assert 0 < report["size"]["alpha"] < 5  # Nats; what units cost is none.
    assert report["stages"][-1]["predicted_loss_change"] is None
    assert (tmp_path / "run" / "seams.jsonl").read_text().count('"taken": true') == 2


def test_a_finished_run_just_reports(uninterrupted, text_folder):
    before = (uninterrupted / "report.json").read_bytes()
    again = run(uninterrupted, text_folder)
    assert again.returncode == 0
    assert "is finished" in again.stderr
    assert (uninterrupted / "report.json").read_bytes() == before


def test_another_config_is_refused_by_name(uninterrupted, text_folder):
    other = run(uninterrupted, text_folder, "--config.optim.learning_rate=1e-3")
    assert other.returncode == 2
    assert "config.optim.learning_rate=0.001" in other.stderr
    assert "0.003" in other.stderr
    assert len(other.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=SLOW)],
)
def test_a_signal_saves_and_the_run_goes_on(
    tmp_path, text_folder, uninterrupted, number, code
):
    workdir = tmp_path / "run"
    process = subprocess.Popen(
        command(workdir, text_folder),
        env=os.environ | ONE_THREAD,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for _ in range(1200):  # Until it has begun to log steps.
        if (workdir / "metrics.jsonl").exists():
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if process.returncode != 0:  # It may have come after the last step.
        assert process.returncode == code, errors
        assert b"saved at step" in errors
    assert run(workdir, text_folder).returncode == 0
    assert (
        read_report(workdir)["state_hash"] == read_report(uninterrupted)["state_hash"]
    )
