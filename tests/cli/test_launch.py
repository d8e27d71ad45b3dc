"""What the launcher promises, with processes that only play at training."""

import os
import signal
import sys
import threading
import time

import pytest

from slimjax.cli import launch
from slimjax.cli.main import main
from slimjax.errors import SlimjaxError

BEGIN = "import os, signal, sys, time; rank = os.environ['JAX_PROCESS_ID']\n"


def run(script: str, num_processes: int = 2) -> None:
    launch.Launch([sys.executable, "-c", BEGIN + script], num_processes, 1).run()


def test_the_first_process_speaks_without_the_noise_of_libraries(capsys):
    run(
        "print('[Gloo] Rank 0 is connected'); print('{\"rank\": ' + rank + '}')\n"
        "print('E0101 00:00:00 1 cc:1] noise', file=sys.stderr)\n"
        "print('step', rank, file=sys.stderr)"
    )
    out, err = capsys.readouterr()
    assert out == '{"rank": 0}\n'
    assert err == "step 0\n"


def test_a_killed_process_is_named_in_one_line_and_the_others_end(monkeypatch):
    monkeypatch.setattr(launch, "GRACE_SECONDS", 4.0)
    start = time.monotonic()
    with pytest.raises(SlimjaxError) as caught:
        run(
            "if rank == '1': os.kill(os.getpid(), signal.SIGKILL)\n"
            "if rank == '2': sys.exit(4)\n"  # It has lost another one.
            "time.sleep(60)",
            num_processes=3,
        )
    assert time.monotonic() - start < 30
    said = "rank 1 was killed by SIGKILL; rank 0, 2 ended with it"
    assert str(caught.value).startswith(said)
    assert caught.value.exit_code == 128 + signal.SIGKILL


def test_what_one_process_says_of_its_failure_is_quoted():
    with pytest.raises(SlimjaxError) as caught:
        run("if rank == '1': sys.exit('slimjax: too wide.')")
    assert "rank 1 ended with exit code 1 (too wide)." in str(caught.value)
    assert caught.value.exit_code == 1


def test_who_gave_no_sign_of_life_is_told_from_what_jax_says(monkeypatch, capsys):
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.5)
    with pytest.raises(SlimjaxError) as caught:
        run(
            "if rank == '1': time.sleep(60)\n"
            "print('F0101 00:00:00 1 client.h:80] UNAVAILABLE: tasks are unhealthy '\n"
            "    '(stopped sending heartbeats):\\n1\\n*** Check failure: ***',"
            " file=sys.stderr, flush=True)\n"
            "os.abort()"
        )
    said = "rank 0 was killed by SIGABRT (rank 1 gave no sign of life); rank 1 ended"
    assert str(caught.value).startswith(said)
    assert capsys.readouterr().err == ""


def test_process_0_is_named_when_it_is_the_one_that_hangs(monkeypatch):
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.5)
    with pytest.raises(SlimjaxError) as caught:
        run(
            "if rank == '0': time.sleep(60)\n"
            "print('RPC: /Heartbeat', file=sys.stderr, flush=True)\n"
            "os.abort()"
        )
    said = "rank 1 was killed by SIGABRT (rank 0 gave no sign of life); rank 0 ended"
    assert str(caught.value).startswith(said)


def test_a_signal_goes_to_all(capsys):
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(SystemExit) as caught:
        run(
            "def stop(*_): print('saved', file=sys.stderr); sys.exit(143)\n"
            "signal.signal(signal.SIGTERM, stop); time.sleep(60)"
        )
    timer.join()
    assert caught.value.code == 143
    assert capsys.readouterr().err == "saved\n"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--processes=0", "--", "train"], "--processes=0"),
        (["--processes=2", "train"], "not a flag"),
        (["--processes=2"], "after --"),
        (["--processes=2", "--", "sweep"], "after --"),
    ],
)
def test_mistakes_are_one_line(capsys, argv, says):
    assert main(["launch", *argv]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
