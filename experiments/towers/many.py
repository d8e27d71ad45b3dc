"""Trains many arms and seeds at the same time, for a machine with a GPU or many cores.

Run: python experiments/towers/many.py [--processes=14] [--seconds=0]
    [--only=questions,digits] [--seeds=0,1,2] [--data=data] [--workdir=runs/towers]

Each run is a process of run.py. At the end baselines.py and table.py are run. Where the
time is up, what still runs is ended, and baselines are left out; started again, those
runs go on from their last checkpoints, and what has a result is left alone. On a GPU
several processes share its memory with XLA_PYTHON_CLIENT_PREALLOCATE=false.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "tasks"))
from arms import STUDIES
from processes import run_all, run_script, start_logged
from run import FIRST_SEAM, HERE, result_path
from trunk import TRUNK, is_branch, is_grown


class Job(NamedTuple):
    """A run of a seed."""

    study: str
    arm: str
    seed: int

    @property
    def is_done(self) -> bool:
        """Whether its result is there."""
        return result_path(*self).exists()

    def is_ready(self, workdir: Path) -> bool:
        """Whether the steps that it takes over are there, or will not be."""
        trunk = result_path(self.study, TRUNK, self.seed)
        is_there = is_grown(workdir / trunk.stem, FIRST_SEAM)
        return not is_branch(self.arm) or is_there or trunk.exists()


def main() -> None:
    parser = argparse.ArgumentParser(description="Many runs at the same time")
    parser.add_argument("--processes", type=int, default=14)
    parser.add_argument("--seconds", type=float, default=0.0, help="0: until the end")
    parser.add_argument("--only", default="", help="studies, with commas")
    parser.add_argument("--seeds", default="0,1,2", help="with commas")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--workdir", type=Path, default=Path("runs/towers"))
    flags = parser.parse_args()
    only = flags.only.split(",") if flags.only else list(STUDIES)
    seeds = [int(seed) for seed in flags.seeds.split(",")]
    jobs = [job for job in list_jobs(seeds) if job.study in only and not job.is_done]
    run_all(
        jobs,
        lambda job: start(job, flags),
        processes=flags.processes,
        seconds=flags.seconds,
        label=lambda job: " ".join(map(str, job)),
        is_ready=lambda job: job.is_ready(flags.workdir),
    )
    if not flags.seconds:
        own = [f"--study={study}" for study in only] if flags.only else []
        run_script(HERE / "baselines.py", f"--data={flags.data}", *own)
    run_script(HERE / "table.py")


def list_jobs(seeds: list[int]) -> list[Job]:
    """Returns all runs, those of the first seed first."""
    return [
        Job(name, arm, seed)
        for seed in seeds
        for name, study in STUDIES.items()
        for arm in study.arms
        if seed < study.num_seeds
    ]


def start(job: Job, flags: argparse.Namespace) -> subprocess.Popen:
    """Starts a run whose output goes to a file."""
    path = flags.workdir / "logs" / f"{'-'.join(map(str, job))}.log"
    command = [sys.executable, str(HERE / "run.py"), f"--study={job.study}"]
    command += [f"--arm={job.arm}", f"--seed={job.seed}"]
    command += [f"--data={flags.data}", f"--workdir={flags.workdir}"]
    return start_logged(command, path)


if __name__ == "__main__":
    main()
