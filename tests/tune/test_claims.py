"""A claim has one holder; it is taken over when its lease ends, and not before."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slimjax.errors import CheckpointError, ConfigError, LostClaimError
from slimjax.store.files import append_whole, write_json
from slimjax.store.run_folder import RunFolder
from slimjax.tune import claims as room
from slimjax.tune.claim_file import clock_ns
from slimjax.tune.claims import Claims, parse_lease
from slimjax.tune.holder import describe_process
from slimjax.tune.runner import SECONDS_BETWEEN_LOOKS

NUM_JOBS, NUM_WORKERS = 40, 4
LEASE_S, PATIENCE_S = 0.8, 60.0
CONTEXT = multiprocessing.get_context("spawn")


def work(folder: Path, num_jobs: int, start) -> None:
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


def work_to_the_end(folder: Path, host: str, num_jobs: int, seconds: float) -> None:
    """Does jobs that take their time, like trials, until all are done somewhere."""
    claims = Claims(folder / "claims", lease_s=LEASE_S, host=host)
    todo = list(range(num_jobs))
    while todo:
        for i in list(todo):
            root = folder / f"job{i}"

            def train(root: Path = root) -> bool:
                if is_done(root):
                    return True
                with RunFolder(root).lock():
                    append_whole(root / "log", f"begin {host}\n".encode())
                    for _ in range(4):
                        time.sleep(seconds / 4)
                        append_whole(root / "log", f"step {host}\n".encode())
                    append_whole(root / "log", f"end {host}\n".encode())
                return True

            if claims.attempt(f"job{i}", root, train):
                todo.remove(i)
        time.sleep(0.02)


def is_done(root: Path) -> bool:
    """Whether the log of a job has its end, which is written at one stroke."""
    log = root / "log"
    lines = log.read_text().splitlines() if log.is_file() else []
    return bool(lines) and lines[-1].startswith("end")


def write_until_lost(folder: Path, *, locks: bool, lease_s: float) -> None:
    """Writes a number again and again, until the claim is another process's."""
    claims = Claims(folder / "claims", lease_s=lease_s, host="paused")
    lock = RunFolder(folder / "run").lock if locks else None

    def write() -> None:
        number = 0
        while True:
            number += 1
            write_json(folder / "run" / "number.json", number)
            append_whole(folder / "run" / "log", b".")

    def write_locked() -> None:
        if lock is None:
            write()
        else:
            with lock():
                write()

    left = claims.attempt("run", folder / "run", write_locked)
    write_json(folder / "left.json", left)


def start(target, *arguments, **options):
    process = CONTEXT.Process(target=target, args=arguments, kwargs=options)
    process.start()
    return process


def wait_until(is_so, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def leave(claims: Claims, name: str, age_s: float = 0.0, **who) -> None:
    """Writes the claim of another process, touched so long ago."""
    path = claims.path(name)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(who) if who else "")
    touched_ns = clock_ns(path.parent) - int(age_s * 1e9)
    os.utime(path, ns=(touched_ns, touched_ns))


@pytest.fixture
def ended() -> dict:
    """Returns the record of a process of this host that has ended."""
    code = "import json; from slimjax.tune.holder import describe_process as d; "
    command = [sys.executable, "-c", code + "print(json.dumps(d()))"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def race(folder: Path) -> None:
    arguments = (folder, NUM_JOBS, CONTEXT.Barrier(NUM_WORKERS))
    workers = [start(work, *arguments) for _ in range(NUM_WORKERS)]
    for worker in workers:
        worker.join(300)  # Far more than it takes, even on a busy machine.
        assert worker.exitcode == 0
    for i in range(NUM_JOBS):
        assert len((folder / f"log{i}").read_text().splitlines()) == 1
    assert not [p for p in (folder / "claims").iterdir() if p.name != ".lock"]


def test_processes_that_race_do_each_job_once(tmp_path):
    race(tmp_path)


def test_processes_that_race_for_what_the_ended_left_do_each_job_once(tmp_path, ended):
    claims = Claims(tmp_path / "claims")
    for i in range(NUM_JOBS):
        leave(claims, f"job{i}", **ended)
    race(tmp_path)


def test_a_claim_names_its_holder_and_is_given_back(tmp_path):
    claims = Claims(tmp_path)
    with claims.hold("pilots/a") as is_mine:
        assert is_mine
        claim = json.loads(claims.path("pilots/a").read_text())
        assert (claim["host"], claim["pid"]) == (os.uname().nodename, os.getpid())
        assert claims.describe("pilots/a").startswith(f"process {os.getpid()} on ")
        assert not Claims(tmp_path, host="elsewhere").take("pilots/a")
        with claims.hold("pilots/a") as again:
            assert not again
        assert claims.path("pilots/a").is_file()
    assert not claims.path("pilots/a").exists()
    assert claims.describe("pilots/a") == "another process"


def test_an_error_gives_a_claim_back(tmp_path):
    claims = Claims(tmp_path)
    with pytest.raises(ZeroDivisionError), claims.hold("a"):
        1 / 0  # noqa: B018
    claim = claims.take("a")
    assert claim
    claim.drop()


LEFT = {
    "empty": {},
    "elsewhere": {"host": "there", "pid": 1},
    "another namespace": describe_process() | {"pid": 2**22 + 1, "namespace": "other"},
    "no namespace": {"host": os.uname().nodename, "pid": 2**22 + 1},
}


@pytest.mark.parametrize("name", LEFT)
def test_a_claim_is_taken_over_when_its_lease_has_ended(tmp_path, name):
    claims = Claims(tmp_path, lease_s=2.0)
    leave(claims, "young", age_s=0.5, **LEFT[name])
    leave(claims, "old", age_s=2.5, **LEFT[name])
    assert not claims.take("young")
    assert not claims.take("old")  # Seen for the first time: its holder may touch it.
    time.sleep(0.55)  # More than the time between two touches.
    assert not claims.take("young")
    claim = claims.take("old")
    assert claim
    claim.drop()
    assert not [p for p in tmp_path.iterdir() if "old" in p.name]


def test_damaged_claims_end_with_their_lease(tmp_path):
    claims = Claims(tmp_path, lease_s=1.0)
    for name, content in (("text", "{"), ("list", "[1]"), ("nul", "\0" * 9)):
        leave(claims, name)
        claims.path(name).write_text(content)
        leave_ns = clock_ns(tmp_path) - 2 * 10**9
        os.utime(claims.path(name), ns=(leave_ns, leave_ns))
        assert not claims.take(name)
        time.sleep(0.3)
        claim = claims.take(name)
        assert claim
        claim.drop()


def test_a_holder_with_a_longer_lease_keeps_it(tmp_path):
    claims = Claims(tmp_path, lease_s=0.2)
    leave(claims, "a", age_s=1.0, host="there", pid=1, lease_s=1e6)
    claims.take("a")
    time.sleep(0.1)
    assert not claims.take("a")


def test_a_claim_that_is_touched_is_never_taken_over(tmp_path):
    holder = Claims(tmp_path, lease_s=LEASE_S, host="there")
    others = [Claims(tmp_path, lease_s=LEASE_S, host=host) for host in ("here", "b")]
    with holder.hold("a") as is_mine:
        assert is_mine
        for _ in range(50):
            assert not any(claims.take("a") for claims in others)
            time.sleep(LEASE_S / 20)


def test_a_clock_that_jumps_does_not_end_a_lease(tmp_path, monkeypatch):
    """Forward, until the holder has had time to touch; back, it can end no lease."""
    holder, other = (Claims(tmp_path, lease_s=LEASE_S, host=h) for h in ("there", "b"))
    true_ns = room.clock_ns
    with holder.hold("a"):
        monkeypatch.setattr(room, "clock_ns", lambda p: true_ns(p) + 10**13)
        assert not other.take("a")
        leave(other, "back", age_s=-1000.0, host="there", pid=1)
        monkeypatch.setattr(room, "clock_ns", true_ns)
    assert not other.take("back")
    time.sleep(0.3)
    assert not other.take("back")
    told = other.describe("back")
    assert f"ran back by 1000 s: if that process has ended, remove {tmp_path}" in told
    assert "\n" not in told


def test_a_claim_that_was_touched_meanwhile_is_put_back(tmp_path, monkeypatch):
    """As when two processes see one stale claim, and the first has replaced it."""
    claims = Claims(tmp_path, lease_s=LEASE_S)
    leave(claims, "a", age_s=9.0, host="there", pid=1)
    rename = Path.rename

    def replace_first(path, target):
        leave(claims, "a", host="faster", pid=2)
        return rename(path, target)

    monkeypatch.setattr(claims, "_is_stale", lambda *_: True)
    monkeypatch.setattr(Path, "rename", replace_first)
    assert not claims.take("a")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert json.loads(claims.path("a").read_text())["host"] == "faster"


def test_a_lost_claim_is_found_at_the_next_write(tmp_path):
    said: list[str] = []
    claims = Claims(tmp_path / "claims", host="slow", say=said.append)
    run = tmp_path / "run"

    def write() -> bool:
        write_json(run / "a.json", 1)
        leave(claims, "run", host="faster", pid=2)
        write_json(run / "b.json", 2)
        return True

    assert claims.attempt("run", run, write) is None
    assert [p.name for p in run.iterdir()] == ["a.json"]
    assert "now a claim of process 2 on faster" in said[0]
    assert json.loads(claims.path("run").read_text())["host"] == "faster"
    with claims.hold("b", run):
        claims.path("b").unlink()
        with pytest.raises(LostClaimError):
            write_json(run / "b.json", 2)


def test_what_cannot_be_read_or_written_is_one_line(tmp_path):
    claims = Claims(tmp_path / "claims")
    claims.path("a").mkdir(parents=True)
    (tmp_path / "file").touch()
    for claim, told in (
        (lambda: claims.take("a"), "a.json cannot be read: Is a directory. If no "),
        (
            lambda: Claims(tmp_path / "file").take("a"),
            "cannot be written: File exists.",
        ),
        (lambda: Claims(Path("/proc/none")).take("a"), "cannot be written: No such "),
    ):
        with pytest.raises(CheckpointError) as caught:
            claim()
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "10", "9s", "-5m", "10 m", "1d", "200h", "nan"])
def test_a_lease_is_a_time(text):
    if text == "10":
        assert parse_lease(text) == 10.0
        return
    with pytest.raises(ConfigError, match="such as 10m"):
        parse_lease(text)


def check_jobs(folder: Path, num_jobs: int) -> None:
    """No job is undone, and none is done twice, or by two processes at a time."""
    for i in range(num_jobs):
        lines = (folder / f"job{i}" / "log").read_text().splitlines()
        assert sum(line.startswith("end") for line in lines) == 1
        assert lines[-1].startswith("end")
        begins = [k for k, line in enumerate(lines) if line.startswith("begin")]
        for first, last in zip(begins, [*begins[1:], len(lines)], strict=True):
            assert len({line.split()[1] for line in lines[first:last]}) == 1
    assert not list((folder / "claims").glob("*.json"))


def kill_at_random(folder: Path, num_jobs: int, num_kills: int, seconds: float) -> None:
    """Runs three processes, each killed so often, on hosts of different names."""
    source, kills = random.Random(0), [num_kills] * 3
    hosts = [f"host{i}" for i in range(3)]
    run = lambda i: start(work_to_the_end, folder, hosts[i], num_jobs, seconds)
    workers, num_hit = [run(i) for i in range(3)], 0
    while any(kills):
        time.sleep(source.uniform(0.0, seconds))
        i = source.choice([i for i in range(3) if kills[i]])
        num_hit += workers[i].is_alive()
        workers[i].kill()  # One that has found all done by now has ended.
        workers[i].join()
        kills[i] -= 1
        workers[i] = run(i)
    assert num_hit >= num_kills
    for worker in workers:
        worker.join(10 * PATIENCE_S)  # Far more than it takes, even on a busy machine.
        assert worker.exitcode == 0
    check_jobs(folder, num_jobs)


def test_processes_that_are_killed_leave_no_job_undone_and_none_done_twice(tmp_path):
    kill_at_random(tmp_path, num_jobs=6, num_kills=2, seconds=0.3)


@pytest.mark.slow
def test_processes_that_are_killed_twenty_times_do_each_job_once(tmp_path):
    kill_at_random(tmp_path, num_jobs=60, num_kills=20, seconds=1.5)


def pause(folder: Path, *, locks: bool) -> None:
    """Has a holder paused for longer than its lease, while another one looks."""
    run, claims = folder / "run", Claims(folder / "claims", lease_s=LEASE_S, host="b")
    holder = start(write_until_lost, folder, locks=locks, lease_s=LEASE_S)
    try:
        wait_until((run / "log").is_file)
        os.kill(holder.pid, signal.SIGSTOP)
        if locks:
            deadline = time.monotonic() + 3 * LEASE_S
            while time.monotonic() < deadline:
                assert not claims.take("run", run)
                time.sleep(0.02)
            os.kill(holder.pid, signal.SIGKILL)
        found = []
        wait_until(lambda: found.append(claims.take("run", run)) or found[-1])
        if not locks:
            before = {p.name: p.read_bytes() for p in run.iterdir() if p.name[0] != "."}
            os.kill(holder.pid, signal.SIGCONT)
            wait_until((folder / "left.json").is_file)
            after = {p.name: p.read_bytes() for p in run.iterdir() if p.name[0] != "."}
            assert after == before
            assert found[-1].is_mine()
        found[-1].drop()
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()


@pytest.mark.slow
def test_what_a_lost_host_held_is_taken_over_within_the_lease_and_30_s(tmp_path):
    run, lease_s = tmp_path / "run", 10.0
    claims = Claims(tmp_path / "claims", lease_s=lease_s, host="b")
    holder = start(write_until_lost, tmp_path, locks=True, lease_s=lease_s)
    wait_until((run / "log").is_file)
    assert not claims.take("run", run)
    os.kill(holder.pid, signal.SIGKILL)
    lost = time.monotonic()
    holder.join()
    while (claim := claims.take("run", run)) is None:
        assert time.monotonic() - lost < lease_s + 30
        time.sleep(SECONDS_BETWEEN_LOOKS)
    claim.drop()
    # Its last touch may have been a quarter of the lease before it was lost.
    assert 0.7 * lease_s < time.monotonic() - lost < lease_s + 30


def test_a_paused_holder_without_locks_writes_nothing_more_and_leaves(tmp_path):
    pause(tmp_path, locks=False)


def test_a_paused_holder_with_a_lock_is_not_taken_over_until_it_ends(tmp_path):
    pause(tmp_path, locks=True)
