"""Runs many arms at the same time, for a machine with a GPU or many cores.

Run: python experiments/domains/many.py [--processes=2] [--seconds=0]
    [--only=adapters,matrix] [--seeds=0,1,2] [--workdir=runs/domains]

Each run has a process of its own. At the end peers.py and table.py are run. Where the
time is up, what still runs is ended, and peers are left out; the same command goes on.
On a GPU several processes share its memory with
XLA_PYTHON_CLIENT_PREALLOCATE=false.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "tasks"))
from arms import ARMS, FIRST, MATRIX, MINILM, SOURCE, TARGET
from processes import run_all, run_script, start_logged
from reviews import DOMAINS, path_of
from run import EVERY, HERE, name_of, result_path


class Job(NamedTuple):
    """A run of a seed.

    Attributes:
        name: Its result's name.
        flags: Those of run.py.
        seed: Its seed.
        is_late: Whether it starts from the weights of the first arm.
    """

    name: str
    flags: tuple[str, ...]
    seed: int
    is_late: bool = False

    def is_ready(self) -> bool:
        """Whether what it starts from is there."""
        return not self.is_late or result_path(name_of(FIRST, 0), self.seed).exists()


def list_jobs(seeds: list[int]) -> list[Job]:
    """Returns all runs, long ones first, then those of the first seed."""
    jobs = [_arm(arm, k, seed) for seed in seeds for arm in ARMS for k in ARMS[arm].ks]
    jobs = sorted(jobs, key=lambda job: (MINILM not in job.name, job.is_late))
    for kind in MATRIX:
        for trained in DOMAINS if "adapters" not in kind else (EVERY,):
            flags = f"--matrix={kind}", f"--trained={trained}"
            jobs += [Job(f"matrix-{kind}-{trained}", flags, s) for s in seeds]
    return jobs


def _arm(arm: str, k: int, seed: int) -> Job:
    late = ARMS[arm].start == FIRST
    return Job(name_of(arm, k), (f"--arm={arm}", f"--k={k}"), seed, late)


def main() -> None:
    parser = argparse.ArgumentParser(description="Many runs at the same time")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.0, help="0: until the end")
    parser.add_argument("--only", default="", help="starts of names, with commas")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--workdir", type=Path, default=Path("runs/domains"))
    flags = parser.parse_args()
    seeds = [int(seed) for seed in flags.seeds.split(",")]
    only = tuple(flags.only.split(","))
    waiting = [
        job
        for job in list_jobs(seeds)
        if job.name.startswith(only) and not result_path(job.name, job.seed).exists()
    ]
    prepare(waiting, flags.workdir)
    run_all(
        waiting,
        lambda job: start(job, flags.workdir),
        processes=flags.processes,
        seconds=flags.seconds,
        label=lambda job: f"{job.name} {job.seed}",
        is_ready=Job.is_ready,
    )
    if not flags.seconds:
        run_script(HERE / "peers.py", f"--data={flags.workdir / 'data'}")
    run_script(HERE / "table.py")


def prepare(jobs: list[Job], workdir: Path) -> None:
    """Writes the files that several runs read."""
    data = workdir / "data"
    for seed in {job.seed for job in jobs}:
        has_matrix = any("matrix" in job.name for job in jobs)
        for domain in DOMAINS if has_matrix else (SOURCE, TARGET):
            path_of(data, domain, "test", seed)
            path_of(data, domain, "train", seed)
    if any(MINILM in job.name for job in jobs):
        from minilm import make_folder

        make_folder(data)


def start(job: Job, workdir: Path) -> subprocess.Popen:
    """Starts a run whose output goes to a file."""
    command = [sys.executable, str(HERE / "run.py"), *job.flags]
    command += [f"--seed={job.seed}", f"--workdir={workdir}"]
    return start_logged(command, workdir / "logs" / f"{job.name}-{job.seed}.log")


if __name__ == "__main__":
    main()
