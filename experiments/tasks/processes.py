"""Runs many commands at the same time, each in a process of its own."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Job = TypeVar("Job")


def run_all(
    waiting: list[Job],
    start: Callable[[Job], subprocess.Popen],
    *,
    processes: int,
    seconds: float,
    label: Callable[[Job], str],
    is_ready: Callable[[Job], bool] = lambda _: True,
) -> None:
    """Runs jobs until all are done or the time is up; what still runs then is ended.

    Args:
        waiting: The jobs, in the order in which they start.
        start: Starts one.
        processes: Most jobs at a time.
        seconds: The time; 0 for as long as it takes.
        label: Tells how a job is printed.
        is_ready: Whether what a job needs is there.
    """
    begun, running = time.perf_counter(), {}
    spent = lambda: time.perf_counter() - begun
    while (waiting or running) and spent() < (seconds or float("inf")):
        ready = [job for job in waiting if is_ready(job)]
        for job in ready[: processes - len(running)]:
            waiting.remove(job)
            running[job] = start(job)
        if not running:
            break  # What is left waits for a run that failed.
        for job, process in list(running.items()):
            if process.poll() is not None:
                del running[job]
                print(f"{spent():5.0f} s", label(job), process.returncode, flush=True)
        time.sleep(0.2)
    for process in running.values():
        process.kill()
    print("not done:", [label(job) for job in [*running, *waiting]])


def run_script(path: Path, *flags: str) -> None:
    """Runs a script of Python to its end.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    subprocess.run([sys.executable, str(path), *flags], check=True)


def start_logged(command: list[str], log: Path) -> subprocess.Popen:
    """Starts a command whose output goes to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
