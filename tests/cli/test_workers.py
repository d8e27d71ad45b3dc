"""The flags of workers, divided between the launcher and the workers."""

import importlib

import pytest
import submitit  # noqa: F401  Its logger keeps the stderr that it finds first.

from slimjax.cli import workers
from slimjax.cli.flags import make_parser, parse
from slimjax.cli.main import main
from slimjax.cli.workers import add_workers, divide, hand_over, is_submitted
from slimjax.errors import ConfigError

ARGV = ["--workdir=w", "--submit", "slurm", "--workers=3", "--slurm_qos=a=b", "--json"]
ARGV += ["--wait", "--slurm_time=5", "--config.a.b=--wait"]


def parse_all(argv):
    parser, divided = make_parser("sweep", "about", "example"), divide(argv)
    parser.add_argument("--workdir")
    add_workers(parser)
    return parse(parser, divided.argv, config=True).flags, divided


def test_a_worker_gets_all_but_what_is_about_workers(monkeypatch, tmp_path, capsys):
    flags, divided = parse_all(ARGV)
    asked = []

    def submit(command, workdir, request):
        asked.append((command[-4:], workdir, request))
        return []

    monkeypatch.setattr("slimjax.tune.submit.submit", submit)
    monkeypatch.setattr("slimjax.tune.submit.wait", lambda *_: None)
    monkeypatch.setattr("slimjax.tune.submit.check_place", lambda _: None)
    assert is_submitted(flags, divided)
    hand_over("sweep", divided, flags, tmp_path)
    ((command, workdir, request),) = asked
    assert command == ["slimjax", "sweep", "--workdir=w", "--config.a.b=--wait"]
    assert (workdir, request.place, request.workers) == (tmp_path, "slurm", 3)
    assert request.options == {"qos": "a=b", "time": "5"}
    out, error = capsys.readouterr()
    assert out == f'{{"jobs": [], "logs": "{tmp_path}/jobs"}}\n'
    assert error.startswith("jobs: ")


@pytest.mark.parametrize(
    "argv", [["--workers=2"], ["--wait"], ["--slurm_time=5"], ["--workers=0"]]
)
def test_flags_without_submit_are_refused(argv):
    flags, divided = parse_all(argv)
    with pytest.raises(ConfigError, match="has no effect without --submit=slurm"):
        is_submitted(flags, divided)
    assert not is_submitted(*parse_all([]))


def test_an_option_needs_a_value():
    for text in ("--slurm_time", "--slurm_=5"):
        with pytest.raises(ConfigError, match="needs a value"):
            divide([text])
    assert workers.SLURM == "--slurm_"


@pytest.mark.parametrize("command", ["sweep", "tune"])
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--submit=local", "--workers=0"], "--workers=0 must be in"),
        (["--submit=locally"], "Did you mean local"),
        (["--submit=slurm", "--slurm_time=5"], "needs sbatch"),
        (["--submit=local", "--lease=1s"], "--lease=1s must be a time"),
    ],
)
def test_mistakes_about_workers_are_told_before_data_are_read(
    command, flags, told, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PATH", "")

    def read(*_):
        raise AssertionError("Data are read.")

    for room, name in (("sweep", "check_settings"), ("preparing", "prepare")):
        module = importlib.import_module(f"slimjax.tune.{room}")
        monkeypatch.setattr(module, name, read)
    argv = ["--config=configs/tiny_test.py", f"--workdir={tmp_path / 'w'}", *flags]
    assert main([command, *argv]) == 2
    error = capsys.readouterr().err.strip()
    assert told in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "w").exists()
