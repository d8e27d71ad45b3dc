"""Faults that end a process: kills at random times and at named points, signals."""

import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from random import Random

from bench import OFTEN, Bench, Fault, hash_of, wait_for
from forks import KILLED, Fork, at_steps, end_self

from slimjax.store.run_folder import RunFolder

POINTS = ("step", "checkpoint-before", "checkpoint-arrays")
POINTS += ("checkpoint-before-manifest", "rename-before", "rename-after")
POINTS += ("checkpoint-manifest", "checkpoint-remove", "checkpoint-removed")
POINTS += ("seam-before", "seam-inside", "seam-after", "seam-saved")
LONG = ("train.num_steps=2000", "train.save_every_steps=50", "resize.every_steps=500")
LATEST_EXIT = 10.0  # Seconds after a signal.
BEGUN = "encode 100/100 %"


def newest(workdir: Path) -> int | None:
    names = RunFolder(workdir).checkpoints.list()
    return int(names[-1][:8]) if names else None


def goes_on_rightly(workdir: Path, fork: Fork, before: int | None) -> str:
    """Returns what is wrong with where a process went on.

    One that was ended while it read its checkpoint has not said it yet; what is there
    then is what was there.
    """
    found = re.search(r"going on at step (\d+)", fork.text)
    if found is not None and int(found.group(1)) == before:
        return ""
    if found is None and before is None:
        return ""
    if found is None and "training " not in fork.text and newest(workdir) == before:
        return ""
    return f"should go on at {before}: {fork.text[-200:]!r}"


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
    wrong = goes_on_rightly(workdir, fork, before)
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
    wrong = goes_on_rightly(workdir, fork, before) or settle(bench, workdir, *OFTEN)
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
    seconds = time.monotonic() - start
    bench.note("seconds to the exit", seconds)
    if seconds > LATEST_EXIT:
        return f"{number.name}: {seconds:.1f} s to the exit"
    wrong = goes_on_rightly(workdir, fork, before)
    if wrong or code == 0:
        return wrong or settle(bench, workdir, *changes)
    codes = (143, 130) if i % 3 == 2 else (128 + number,)
    if (workdir / "report.json").exists():  # It came too late to stop anything.
        code = 128 - code if code < 0 else code  # As shells tell it.
        told = "Traceback" not in fork.text and code in codes
        return settle(bench, workdir, *changes) if told else f"ended with {code}"
    saved = re.search(r"saved at step (\d+)", fork.text)
    if code not in codes or "Traceback" in fork.text:
        return f"{number.name}: ended with {code}: {fork.text[-300:]!r}"
    if i % 3 != 2 and (saved is None or newest(workdir) != int(saved.group(1))):
        return f"{number.name}: nothing is saved at the step: {fork.text[-300:]!r}"
    return ""


def stop_often(bench: Bench, random: Random, i: int) -> str:
    """Stops a run of 2,000 steps at 20 random steps, by turns asked and killed."""
    del i
    workdir = bench.folder / "long"
    shutil.rmtree(workdir, ignore_errors=True)
    for turn, step in enumerate(sorted(random.sample(range(60, 2000), 20))):
        number = (signal.SIGTERM, signal.SIGKILL)[turn % 2]
        before = newest(workdir)
        passage = step - (before or 0)
        end = partial(at_steps, {passage: partial(end_self, number)})
        fork = bench.train(workdir, *LONG, before=end)
        code = fork.wait()
        wrong = goes_on_rightly(workdir, fork, before)
        if wrong or code != (128 + number if turn % 2 == 0 else KILLED):
            return f"stop {turn} at step {step} ended with {code}; {wrong}"
        if turn % 2 == 0 and newest(workdir) != step:
            return f"stop {turn} at step {step}: saved at {newest(workdir)}"
    return finish(bench, "long", *LONG)


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
        "2,000 steps with 20 random stops, by turns SIGTERM and kill -9",
        "saved at the step that SIGTERM met; same final hash",
        1,
        stop_often,
    ),
)
