"""The flags of workers, divided between the launcher and the workers."""

import pytest

from slimjax.cli import workers
from slimjax.cli.flags import make_parser, parse
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
    assert is_submitted(flags, divided)
    hand_over("sweep", divided, flags, tmp_path)
    ((command, workdir, request),) = asked
    assert command == ["slimjax.cli", "sweep", "--workdir=w", "--config.a.b=--wait"]
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
