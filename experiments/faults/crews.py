"""Faults of one process of two that `slimjax launch` has started."""

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from random import Random

from bench import Bench, Fault, wait_for
from forks import Fork
from stops import goes_on_rightly, newest, settle

CHANGES = ("model.num_layers=1", "train.num_steps=600", "train.save_every_steps=20")
CHANGES += ("resize.first_step=100", "resize.every_steps=100")
OUT = 30.0
"""Seconds until the survivor is out."""

MISSED = ("did not come to", "has not told", "gave no sign of life", "is lost")


def launch(bench: Bench, workdir: Path) -> Fork:
    """Begins a run of two processes, or goes on with it."""

    def before() -> None:
        os.environ["SLIMJAX_CACHE"] = str(bench.folder / "cache")
        os.environ["SLIMJAX_HEARTBEAT_SECONDS"] = "40"  # The machine may be busy.
        os.environ["SLIMJAX_BARRIER_SECONDS"] = "30"

    argv = bench.argv(workdir, *CHANGES)
    argv = ["launch", "--processes=2", "--", *argv]
    return Fork(argv, workdir.with_suffix(".log"), before=before)


def expected(bench: Bench) -> None:
    """Makes the run that nothing happens to, where `Bench.expected` looks for it."""
    workdir = bench.plain(*CHANGES)
    if not (workdir / "report.json").is_file():
        code = launch(bench, workdir).wait()
        if code:
            raise RuntimeError(f"the reference run ends with {code}: {workdir}")


def find_rank(rank: int, launcher: int) -> int:
    """Returns the process id of a rank, 0 if it is not there."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    for pid in children.read_text().split() if children.exists() else []:
        if f"JAX_PROCESS_ID={rank}\0" in Path(f"/proc/{pid}/environ").read_text():
            return int(pid)
    return 0


def finish(bench: Bench) -> str:
    """Lets the run of the chain go on to its end."""
    workdir = bench.folder / "crews"
    if not workdir.exists():
        return ""
    fork = launch(bench, workdir)
    code = fork.wait()
    return settle(bench, workdir, *CHANGES) if code == 0 else f"ended with {code}"


def trouble_one(bench: Bench, random: Random, i: int) -> str:
    """Asks one of two processes to stop, kills it, or has it hang; then goes on."""
    way = (ask, kill, hang)[i % 3]
    rank, workdir = random.randrange(2), bench.folder / "crews"
    expected(bench)
    before, wrong = newest(workdir), ""
    fork = launch(bench, workdir)
    code = wait_for(fork, "training ")
    pid = find_rank(rank, fork.pid)
    if code is None and pid:
        time.sleep(random.uniform(0, 3))
        wrong = way(bench, fork, pid, rank)
    code = fork.wait()
    wrong = wrong or goes_on_rightly(workdir, fork, before)
    saved = re.search(r"saved at step (\d+)", fork.text)
    if saved is not None and newest(workdir) != int(saved.group(1)):
        wrong = wrong or "not saved at the step that it tells"
    if "Traceback" in fork.text:
        wrong = wrong or "a traceback"
    if code == 0 and not wrong:
        wrong = settle(bench, workdir, *CHANGES)
    return f"{way.__name__} rank {rank}: {wrong}" if wrong else ""


def ask(bench: Bench, fork: Fork, pid: int, rank: int) -> str:
    """Sends SIGTERM to one process: both are to save, and stop."""
    del rank
    code, seconds = _after(signal.SIGTERM, fork, pid)
    bench.note("seconds from SIGTERM to one until both are out", seconds)
    told = "saved at step", "the run is finished"
    if code == 0 or (code == 143 and any(words in fork.text for words in told)):
        return ""
    return f"{code}: {fork.text[-300:]!r}"


def kill(bench: Bench, fork: Fork, pid: int, rank: int) -> str:
    """Kills one process: the other is to end, and it is to be named."""
    code, seconds = _after(signal.SIGKILL, fork, pid)
    bench.note("seconds from kill -9 of one until the other is out", seconds)
    if code == 0:
        return ""
    named = f"rank {rank} was killed by SIGKILL; rank {1 - rank} ended with it"
    if code != 128 + signal.SIGKILL or named not in fork.text:
        return f"{code}: {fork.text[-300:]!r}"
    return f"{seconds:.0f} s until the other is out" if seconds > OUT else ""


def hang(bench: Bench, fork: Fork, pid: int, rank: int) -> str:
    """Has one process hang: the other is to end, and it is to be named."""
    code, seconds = _after(signal.SIGSTOP, fork, pid)
    bench.note("seconds until one that hangs is named", seconds)
    if code == 0:
        return ""
    named = rf"(Process|rank) {rank} ({'|'.join(MISSED)})"
    lines = [line for line in fork.text.splitlines() if line.startswith("slimjax: ")]
    if code == 1 or not any(re.search(named, line) for line in lines):
        return f"{code}: {fork.text[-400:]!r}"
    return ""


def _after(number: int, fork: Fork, pid: int) -> tuple[int, float]:
    """Returns the exit code after a signal to one process, and the seconds to it."""
    start = time.monotonic()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    return fork.wait(), time.monotonic() - start


CREWS = (
    Fault(
        "processes",
        "2 processes: SIGTERM to one, kill -9 of one, one that hangs",
        "both save; survivor out < 30 s; rank named; final hash = uninterrupted",
        30,
        trouble_one,
        finish,
    ),
)
