"""Workers that do the same work in one folder: on a Slurm cluster, or on this machine.

Both go through submitit: a worker is a job, several are one array job, and a job that
Slurm preempts is queued again. What a worker runs is a command of slimjax, such as
``slimjax sweep``; the workers share its pieces by claims (`slimjax.tune.claims`), so
none needs to know of the others.

submitit hands a `Worker` to its job in a pickle file, and reads it there. No pickle is
read here: how a worker has ended stands in a text file, ``JOB.exit``.
"""

import collections
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.store.files import write_atomic
from slimjax.tune.submit_request import Request, to_parameters

JOBS = "jobs"
"""The folder of logs and scripts, below the work's own."""

BESIDE = ("claims", JOBS)
"""Folders that may be there before the work begins."""

MAX_TIMEOUTS = 100
"""How often a job is queued again that has used up its time."""

SECONDS_TO_SAVE = 60.0
"""How long a command may take to save, of the 90 s between warning and end."""

SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_POLLS = 1.0, 0.1
NUM_LOOKS = 5  # After the end: a shared file system may show files late.
A_YEAR_MIN = 366 * 24 * 60


class Worker:
    """What a job runs: a command, which is asked to save before the job ends.

    Attributes:
        command: The command.
        folder: Where ``JOB.exit`` is written.
        place: The folder in which it is started.
        devices: ``CUDA_VISIBLE_DEVICES``, where submitit would hide them.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, place: str, devices: str | None
    ):
        """Starts nothing yet."""
        self.command, self.folder = [*command], str(folder)
        self.place, self.devices = place, devices
        self._process: Any = None

    def __call__(self) -> int:
        """Runs the command, and returns its exit code.

        Raises:
            RuntimeError: If that is not 0, so that the job is one that failed.
        """
        from submitit import JobEnvironment

        job = JobEnvironment()
        environment = dict(os.environ)
        if job.cluster == "local":
            environment.pop("CUDA_VISIBLE_DEVICES", None)
            if self.devices is not None:
                environment["CUDA_VISIBLE_DEVICES"] = self.devices
        # The warning goes to all processes of a job; it would end the command at once.
        previous = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        self._process = subprocess.Popen(self.command, cwd=self.place, env=environment)
        signal.signal(signal.SIGUSR2, previous)
        try:
            while self._process.poll() is None:  # No wait(): a signal may come.
                time.sleep(SECONDS_BETWEEN_POLLS)
        except BaseException:
            self._save()
            raise
        code = self._process.returncode
        write_atomic(Path(self.folder, f"{job.job_id}.exit"), f"{code}\n".encode())
        if code:
            raise RuntimeError(f"{self.command[1:4]} ended with exit code {code}.")
        return code

    def checkpoint(self) -> Any:
        """Has the command save, and returns what runs when the job comes again."""
        from submitit.helpers import DelayedSubmission

        self._save()
        return DelayedSubmission(
            Worker(self.command, Path(self.folder), self.place, self.devices)
        )

    def _save(self) -> None:
        """Has the command save and end, if it still runs."""
        process, deadline = self._process, time.monotonic() + SECONDS_TO_SAVE
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(SECONDS_BETWEEN_POLLS)


def submit(command: Sequence[str], workdir: Path, request: Request) -> list[Any]:
    """Starts workers, and returns their jobs, which have a ``job_id``.

    Args:
        command: What each of them runs.
        workdir: The folder of the work; logs are in ``jobs/``.
        request: Where and how many.

    Raises:
        ConfigError: If submitit or Slurm is not there.
        NotFeasibleError: If Slurm refuses the job.
    """
    check_place(request.place)
    import submitit

    folder = workdir / JOBS
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    worker = Worker(command, folder.absolute(), os.getcwd(), devices)
    if request.place == "local":
        executor: Any = submitit.LocalExecutor(folder, MAX_TIMEOUTS)
        executor.update_parameters(timeout_min=A_YEAR_MIN)
    else:
        executor = submitit.SlurmExecutor(folder, MAX_TIMEOUTS)
        name = re.sub(r"[^A-Za-z0-9._-]", "-", workdir.absolute().name)
        executor.update_parameters(
            job_name=f"slimjax-{name}", **to_parameters(request.options)
        )
    try:
        return executor.submit_array([worker] * request.workers)
    except RuntimeError as error:
        told = " ".join(str(error).split())
        raise NotFeasibleError(f"Slurm does not take the job: {told[:300]}") from error


def check_place(place: str) -> None:
    """Refuses a place that cannot be used from here.

    Raises:
        ConfigError: With the command that helps.
    """
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"--submit={place} needs submitit: pip install 'slimjax[slurm]'."
        ) from error
    if place == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise ConfigError(
            "--submit=slurm needs sbatch and srun, and this machine has none. Take a "
            "login node of the cluster, or --submit=local."
        )


def wait(jobs: Sequence[Any], workdir: Path) -> None:
    """Returns when all jobs have ended well.

    Args:
        jobs: What `submit` returned.
        workdir: The folder of the work.

    Raises:
        NotFeasibleError: If one has failed, with the place of its log.
    """
    codes: dict[str, str] = {}
    looks: collections.Counter[str] = collections.Counter()
    while len(codes) < len(jobs):
        time.sleep(SECONDS_BETWEEN_LOOKS)
        for job in jobs:
            ended = workdir / JOBS / f"{job.job_id}.exit"
            code = ended.read_text().strip() if ended.is_file() else ""
            if code:
                codes[job.job_id] = f"exit code {code}"
            elif job.done():
                looks[job.job_id] += 1
            if job.job_id not in codes and looks[job.job_id] > NUM_LOOKS:
                codes[job.job_id] = "no exit code: it was killed"
    failed = {job: code for job, code in codes.items() if code != "exit code 0"}
    for job, code in failed.items():
        log = workdir / JOBS / f"{job}_0_log.err"
        raise NotFeasibleError(
            f"{len(failed)} of {len(jobs)} jobs failed; {job} has {code}. See {log}."
        )
