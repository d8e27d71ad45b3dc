"""A process is known to have ended only where its number means something."""

import json
import os
import subprocess
import sys

import pytest

from slimjax.tune import holder
from slimjax.tune.holder import describe_process, has_ended

needs_proc = pytest.mark.skipif(
    not describe_process()["boot"], reason="the system does not tell its boot"
)


@pytest.fixture
def ended() -> dict:
    """Returns the record of a process that has ended."""
    code = "import json; from slimjax.tune.holder import describe_process as d; "
    command = [sys.executable, "-c", code + "print(json.dumps(d()))"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


@needs_proc
def test_the_ended_and_they_alone_are_known_to_have_ended(ended):
    assert has_ended(ended)
    assert not has_ended(describe_process())
    started = holder._start_of(os.getppid()) or 0
    parent = describe_process() | {"pid": os.getppid(), "started": started}
    assert not has_ended(parent)
    assert has_ended(parent | {"started": started - 1})  # A number given out again.


@needs_proc
@pytest.mark.parametrize(
    "elsewhere",
    [
        {"host": "another"},
        {"boot": "another"},
        {"boot": ""},
        {"namespace": "pid:[1]"},
        {"namespace": None},
        {"pid": 0},
        {"pid": -1},
        {"pid": "12"},
        {"pid": 10**30},
    ],
)
def test_nothing_is_known_of_processes_elsewhere(ended, elsewhere):
    assert not has_ended(ended | elsewhere)
    assert not has_ended({})


def test_where_the_system_tells_nothing_none_has_ended(ended, monkeypatch, tmp_path):
    monkeypatch.setattr(holder, "BOOT", tmp_path / "boot")
    assert not has_ended(ended | {"boot": ""})
    assert not has_ended(ended)
