"""Trains many arms and rows at the same time, for a machine with a GPU or many cores.

Run: python experiments/tasks/many.py [--processes=14] [--seconds=0] [--only=ner,r8]
    [--workdir=runs/tasks]

Runs of run.py and slim.py, each in a process of its own that starts when the results it
needs are there. Where the time is up, what still runs is ended. On a GPU several
processes share its memory with XLA_PYTHON_CLIENT_PREALLOCATE=false.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from processes import run_all, start_logged
from run import HERE, result_path
from slim_table import BASE, CELLS

SLIM_ROWS = ("slim50", "slim25", "fresh50", "fresh25", "fresh50=", "fresh25=")
SEEDS = (0, 1, 2)
ONCE = (
    *(("translate", "dense"), ("translate-back", "dense"), ("summary", "dense")),
    *(("movie", "pretrained"), ("graded", "minilm"), ("relation", "minilm")),
    *(("pair", "minilm"), ("pair", "dense"), ("news", "dense")),
    *(("triples", "dense"), ("chat", "dense")),
)
"""Arms of seed 0: long ones, and those that start from MiniLM."""

OFTEN = (
    *(("zh", "recurrent"), ("spans", "dense"), ("ner", "dense"), ("ner-zh", "dense")),
    *(("ner-zh", "gru-below"), ("spans-zh", "dense"), ("graded", "dense")),
    *(("three", "dense"), ("r8", "longer"), ("r8", "dense"), ("r8", "slim")),
    *(("zh", "dense"), ("zh", "slim"), ("spam", "dense"), ("relation", "dense")),
    ("extract", "dense"),
)
"""Arms of all seeds."""


class Job(NamedTuple):
    """A run of a seed.

    Attributes:
        study: Its study.
        name: Its arm, or its row of slim.py.
        seed: Its seed.
    """

    study: str
    name: str
    seed: int

    def command(self, workdir: Path) -> list[str]:
        """Returns the command that makes it."""
        is_row = self.name in (*SLIM_ROWS, "taught25", *CELLS)
        script, flag = ("slim.py", "row") if is_row else ("run.py", "arm")
        flags = [f"--study={self.study}", f"--{flag}={self.name}"]
        flags += [f"--seed={self.seed}", f"--workdir={workdir}"]
        return [sys.executable, str(HERE / script), *flags]

    def needs(self) -> list["Job"]:
        """Returns the runs whose results it reads."""
        other = lambda name: Job(self.study, name, self.seed)
        if self.name in ("gru", "lstm"):
            return [other("attention")]
        if self.name.startswith(("slim5", "slim2", "taught")):
            return [other(BASE[self.study])]
        if self.name.startswith("fresh"):
            needed = [other(f"slim{self.name.strip('fresh=')}")]
            return needed + [other(self.name[:-1])] * self.name.endswith("=")
        return []

    def is_done(self) -> bool:
        """Whether its result is there."""
        return result_path(*self).exists()


def list_jobs() -> list[Job]:
    """Returns all runs, those that others wait for first."""
    jobs = [Job(*arm, 0) for arm in ONCE]
    based = [(study, base) for study, base in BASE.items() if study != "translate"]
    jobs += [Job(*arm, seed) for seed in SEEDS for arm in based]
    rows = [(study, row) for row in SLIM_ROWS for study in BASE]
    rows += [("ner-zh", "taught25"), ("movie", "taught25")]
    rows += [("translate", cell) for cell in CELLS]
    slim = [Job(*row, seed) for seed in SEEDS for row in rows]
    jobs += [job for job in slim if job.seed == 0 or job.study != "translate"]
    return jobs + [Job(*arm, seed) for seed in SEEDS for arm in OFTEN]


def main() -> None:
    parser = argparse.ArgumentParser(description="Many runs at the same time")
    parser.add_argument("--processes", type=int, default=14)
    parser.add_argument("--seconds", type=float, default=0.0, help="0: until the end")
    parser.add_argument("--only", default="", help="studies, with commas")
    parser.add_argument("--workdir", type=Path, default=Path("runs/tasks"))
    flags = parser.parse_args()
    only = flags.only.split(",") if flags.only else []
    waiting = list(dict.fromkeys(list_jobs()))
    waiting = [j for j in waiting if not j.is_done() and (j.study in only or not only)]
    run_all(
        waiting,
        lambda job: start(job, flags.workdir),
        processes=flags.processes,
        seconds=flags.seconds,
        label=lambda job: " ".join(map(str, job)),
        is_ready=lambda job: all(need.is_done() for need in job.needs()),
    )


def start(job: Job, workdir: Path) -> subprocess.Popen:
    """Starts a run whose output goes to a file."""
    name = "-".join(map(str, job))
    return start_logged(job.command(workdir), workdir / "logs" / f"{name}.log")


if __name__ == "__main__":
    main()
