"""A claim has one holder, and the dead hold nothing."""

import json
import multiprocessing
import os
import subprocess
import sys

import pytest

from slimjax.tune.claims import Claims

NUM_JOBS, NUM_WORKERS = 40, 4


def work(folder, num_jobs: int, start) -> None:
    """Does all jobs that it can claim; a job that is done is not done again."""
    claims = Claims(folder / "claims")
    start.wait()
    for i in range(num_jobs):
        with claims.hold(f"job{i}") as is_mine:
            done = folder / f"done{i}"
            if is_mine and not done.exists():
                with open(folder / f"log{i}", "a") as log:
                    log.write(f"{os.getpid()}\n")
                done.touch()


@pytest.fixture
def dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def leave(claims: Claims, name: str, **who) -> None:
    claims.folder.mkdir(exist_ok=True, parents=True)
    claims.path(name).write_text(json.dumps(who))


def race(folder) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = (folder, NUM_JOBS, context.Barrier(NUM_WORKERS))
    workers = [context.Process(target=work, args=arguments) for _ in range(NUM_WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    for i in range(NUM_JOBS):
        assert len((folder / f"log{i}").read_text().splitlines()) == 1
    assert not list((folder / "claims").glob("*.json"))


def test_processes_that_race_do_each_job_once(tmp_path):
    race(tmp_path)


def test_processes_that_race_for_what_the_dead_left_do_each_job_once(
    tmp_path, dead_pid
):
    claims = Claims(tmp_path / "claims")
    for i in range(NUM_JOBS):
        leave(claims, f"job{i}", host=claims.host, pid=dead_pid)
    race(tmp_path)


def test_a_claim_names_its_holder_and_is_given_back(tmp_path):
    claims = Claims(tmp_path)
    with claims.hold("pilots/a") as is_mine:
        assert is_mine
        claim = claims.read("pilots/a")
        assert (claim["host"], claim["pid"]) == (claims.host, os.getpid())
        assert not Claims(tmp_path, host="elsewhere").take("pilots/a")
        with claims.hold("pilots/a") as again:
            assert not again
        assert claims.path("pilots/a").is_file()
    assert claims.read("pilots/a") is None


def test_an_error_gives_a_claim_back(tmp_path):
    claims = Claims(tmp_path)
    with pytest.raises(ZeroDivisionError), claims.hold("a"):
        1 / 0  # noqa: B018
    assert claims.take("a")


def test_only_the_dead_of_this_host_are_stale(tmp_path, dead_pid):
    claims = Claims(tmp_path, host="here")
    leave(claims, "dead", host="here", pid=dead_pid)
    leave(claims, "living", host="here", pid=os.getppid())
    leave(claims, "far", host="there", pid=dead_pid)
    leave(claims, "reborn", host="here", pid=os.getpid())
    claims.path("unwritten").touch()
    names = ("dead", "living", "far", "reborn", "unwritten")
    assert [claims.take(n) for n in names] == [True, False, False, True, False]
    assert f"remove {claims.path('far')}" in claims.describe("far")
