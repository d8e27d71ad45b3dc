"""Faults that end a process: kills at random times and at named points, signals."""

import re
import shutil
import signal
import time
from pathlib import Path
from random import Random

from bench import OFTEN, Bench, Fault, hash_of, wait_for
from forks import KILLED, Fork

from slimjax.store.run_folder import RunFolder

POINTS = ("step", "checkpoint-before", "checkpoint-arrays")
POINTS += ("checkpoint-before-manifest", "rename-before", "rename-after")
POINTS += ("checkpoint-manifest", "checkpoint-remove", "checkpoint-removed")
POINTS += ("seam-before", "seam-inside", "seam-after", "seam-saved")
LONG = ("train.num_steps=2000", "train.save_every_steps=500", "resize.every_steps=500")
BEGUN = "encode 100/100 %"


def newest(workdir: Path) -> int | None:
    names = RunFolder(workdir).checkpoints.list()
    return int(names[-1][:8]) if names else None


def goes_on_rightly(fork: Fork, before: int | None) -> str:
    """Returns what is wrong with where a process went on."""
    found = re.search(r"going on at step (\d+)", fork.text)
    if (before is None) == (found is None) and (
        found is None or int(found.group(1)) == before
    ):
        return ""
    if fork.poll() is None or BEGUN in fork.text:
        return f"should go on at {before}: {fork.text[-200:]!r}"
    return ""


def settle(bench: Bench, workdir: Path, *changes: str) -> str:
    """Returns what is wrong with a finished run, and makes room for another one."""
    expected, actual = bench.expected(*changes), hash_of(workdir)
    shutil.rmtree(workdir)
    return "" if actual == expected else f"another hash than never stopped: {actual}"


def finish(bench: Bench, name: str, *changes: str) -> str:
    """Lets the run of a chain go on to its end."""
    workdir = bench.folder / name
    if not workdir.exists():
        return ""
    fork = bench.train(workdir, *changes)
    code = fork.wait()
    if code:
        return f"ended with {code}: {fork.text[-300:]!r}"
    return settle(bench, workdir, *changes)


def kill_at_random(bench: Bench, random: Random, i: int) -> str:
    """Kills a run that saves every step; the next case goes on with the same run."""
    del i
    workdir = bench.folder / "kills"
    bench.expected(*OFTEN)
    before = newest(workdir)
    fork = bench.train(workdir, *OFTEN)
    code = wait_for(fork, BEGUN)
    if code is None:
        time.sleep(random.uniform(0, 6))
        fork.kill()
        code = fork.wait()
    wrong = goes_on_rightly(fork, before)
    if code == 0:
        return wrong or settle(bench, workdir, *OFTEN)
    return wrong or ("" if code == KILLED else f"ended with {code}: {fork.text[-300:]}")


def kill_at_point(bench: Bench, random: Random, i: int) -> str:
    """Kills a fresh run at a named point, then lets it go on to its end."""
    point, workdir = POINTS[i % len(POINTS)], bench.folder / "points"
    last = {"seam": 2, "checkpoint-remove": 6}.get(point.split("-b")[0], 12)
    last = 2 if point.startswith("seam") else last
    passage = random.randint(1, last)
    shutil.rmtree(workdir, ignore_errors=True)
    code = bench.train(workdir, *OFTEN, fault=f"{point}@{passage}").wait()
    if code != KILLED:
        return f"{point}@{passage} was not reached: {code}"
    before = newest(workdir)
    fork = bench.train(workdir, *OFTEN)
    code = fork.wait()
    if code:
        return f"{point}@{passage}: goes on with {code}: {fork.text[-300:]!r}"
    wrong = goes_on_rightly(fork, before) or settle(bench, workdir, *OFTEN)
    return f"{point}@{passage}: {wrong}" if wrong else ""


def send_signal(bench: Bench, random: Random, i: int) -> str:
    """Sends a signal, every third time two, to a run that saves at seams only."""
    changes = ("train.save_every_steps=0", "train.num_steps=2000")
    changes += ("resize.every_steps=500",)
    workdir = bench.folder / "signals"
    number = random.choice((signal.SIGTERM, signal.SIGINT))
    before = newest(workdir)
    fork = bench.train(workdir, *changes)
    code = wait_for(fork, "training ")
    start = time.monotonic()
    if code is None:
        time.sleep(random.uniform(0, 3))
        start = time.monotonic()
        fork.send(number)
        if i % 3 == 2:
            time.sleep(random.uniform(0, 0.05))
            fork.send(random.choice((signal.SIGTERM, signal.SIGINT)))
        code = fork.wait()
    bench.note("seconds to the exit", time.monotonic() - start)
    wrong = goes_on_rightly(fork, before)
    if wrong or code == 0:
        return wrong or settle(bench, workdir, *changes)
    codes = (143, 130) if i % 3 == 2 else (128 + number,)
    saved = re.search(r"saved at step (\d+)", fork.text)
    if code not in codes or "Traceback" in fork.text:
        return f"{number.name}: ended with {code}: {fork.text[-300:]!r}"
    if i % 3 != 2 and (saved is None or newest(workdir) != int(saved.group(1))):
        return f"{number.name}: nothing is saved at the step: {fork.text[-300:]!r}"
    return ""


def stop_often(bench: Bench, random: Random, i: int) -> str:
    """Stops a run of 2,000 steps at 20 random steps, by turns asked and killed."""
    del i
    workdir, expected = bench.folder / "long", bench.expected(*LONG)
    shutil.rmtree(workdir, ignore_errors=True)
    for stop in range(20):
        before = newest(workdir) or 0
        last = min(1900, before + 240)
        passage = random.randint(1, max(2, last - before))
        code = bench.train(workdir, *LONG, before=lambda p=passage: term_at(p)).wait()
        if code not in (143, 0):
            return f"stop {stop} ended with {code}"
        if code == 0:
            break
    code = bench.train(workdir, *LONG).wait()
    return "" if code == 0 and hash_of(workdir) == expected else "another hash"


def term_at(passage: int) -> None:
    """Has this process send itself SIGTERM before its n-th step."""
    import os

    from slimjax.train import loop

    fault_point, steps = loop.fault_point, iter(range(1, 1 << 30))

    def point(name: str) -> None:
        fault_point(name)
        if name == "step" and next(steps) == passage:
            os.kill(os.getpid(), signal.SIGTERM)

    loop.fault_point = point


SAME = "newest committed step resumed; final hash = uninterrupted"
STOPS = (
    Fault(
        "kills",
        "kill -9 at random times, saves every step, async",
        SAME,
        100,
        kill_at_random,
        lambda bench: finish(bench, "kills", *OFTEN),
    ),
    Fault(
        "points",
        f"kill -9 at {len(POINTS)} named points",
        SAME,
        5 * len(POINTS),
        kill_at_point,
    ),
    Fault(
        "signals",
        "SIGTERM, SIGINT, twice in a row",
        "saved off-interval, exit code 143 or 130, < 10 s",
        50,
        send_signal,
        lambda bench: finish(
            bench,
            "signals",
            "train.save_every_steps=0",
            "train.num_steps=2000",
            "resize.every_steps=500",
        ),
    ),
    Fault(
        "long",
        "2,000 steps with 20 random stops",
        "same final hash",
        1,
        stop_often,
    ),
)
