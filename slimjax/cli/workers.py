"""``--submit``, ``--workers``, ``--wait`` and ``--slurm_NAME``, of several commands."""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from slimjax.cli.flags import Parser, print_json
from slimjax.errors import ConfigError

SLURM = "--slurm_"
TAKEN = ("--submit", "--workers")


@dataclasses.dataclass(frozen=True)
class Divided:
    """The arguments of a command, divided.

    Attributes:
        argv: All but options of Slurm.
        slurm: Those, by name.
    """

    argv: list[str]
    slurm: dict[str, str]


def divide(argv: Sequence[str]) -> Divided:
    """Takes ``--slurm_NAME=VALUE`` out of arguments, so that the others can be parsed.

    Raises:
        ConfigError: If one has no value.
    """
    slurm = {}
    for argument in (a for a in argv if a.startswith(SLURM)):
        name, equals, value = argument.removeprefix(SLURM).partition("=")
        if not equals or not name:
            raise ConfigError(f"{argument} needs a value: {argument}=VALUE.")
        slurm[name] = value
    return Divided([a for a in argv if not a.startswith(SLURM)], slurm)


def add_workers(parser: Parser) -> None:
    """Adds the flags."""
    parser.add_argument(
        "--submit",
        help="run this command in jobs, and return: slurm, or local for processes of "
        "this machine; needs pip install 'slimjax[slurm]'",
    )
    parser.add_argument("--workers", type=int, help="how many jobs; 1 if not given")
    parser.add_argument(
        "--wait", action="store_true", help="with --submit, return when all have ended"
    )
    parser.epilog = (
        f"{parser.epilog}\n\n--slurm_NAME=VALUE sets an option of the jobs:\n"
        "  --slurm_partition=gpu --slurm_time=4:00:00 --slurm_account=me \\\n"
        "      --slurm_gpus_per_node=1 --slurm_mem=32G --slurm_qos=low"
    )


def add_lease(parser: Parser) -> None:
    """Adds ``--lease``."""
    parser.add_argument(
        "--lease",
        default="10m",
        help="after how long the work of a process without a sign of life is taken "
        "over: 90s, 10m, 2h",
    )


def is_submitted(flags, divided: Divided) -> bool:
    """Whether a command is to run elsewhere; if so, checks that it can be.

    Args:
        flags: The flags of `add_workers`.
        divided: The arguments that they come from.

    Raises:
        ConfigError: If a flag has no effect without ``--submit``, or if the workers
            cannot be started from here.
    """
    if flags.submit is not None:
        check_workers(flags, divided)
        return True
    useless = {"workers": flags.workers, "wait": flags.wait}
    useless |= {f"slurm_{name}": value for name, value in divided.slurm.items()}
    for name, value in useless.items():
        if value is not None and value is not False:
            raise ConfigError(
                f"--{name} has no effect without --submit=slurm or --submit=local."
            )
    return False


def check_workers(flags, divided: Divided) -> None:
    """Refuses workers that cannot be started from here, before any other work.

    Raises:
        ConfigError: Naming the flag, or the command that helps.
    """
    from slimjax.tune.submit import check_place
    from slimjax.tune.submit_request import to_parameters

    request = _make_request(flags, divided)
    check_place(request.place)
    if request.place == "slurm":
        to_parameters(request.options)


def _make_request(flags, divided: Divided):
    from slimjax.tune.submit_request import Request

    workers = 1 if flags.workers is None else flags.workers
    return Request(flags.submit, workers, divided.slurm)


def hand_over(command: str, divided: Divided, flags, workdir: Path) -> None:
    """Starts workers that run a command, prints their jobs, and may wait for them.

    Args:
        command: Its name, such as ``sweep``.
        divided: Its arguments.
        flags: The same, parsed.
        workdir: The folder of its work.

    Raises:
        ConfigError: If the workers cannot be started from here.
        NotFeasibleError: If they are not taken, or with ``--wait`` if one failed.
    """
    from slimjax.tune.submit import JOBS, submit, wait

    request = _make_request(flags, divided)
    argv = [sys.executable, "-m", "slimjax", command]
    jobs = submit([*argv, *_without_own(divided.argv)], workdir, request)
    ids, stream = [job.job_id for job in jobs], sys.stderr if flags.json else sys.stdout
    print(f"jobs: {', '.join(ids)}; logs: {workdir / JOBS}", file=stream, flush=True)
    if flags.wait:
        wait(jobs, workdir)
    if flags.json:
        print_json({"jobs": ids, "logs": os.fspath(workdir / JOBS)})


def _without_own(argv: Sequence[str]) -> list[str]:
    """Returns the arguments of a worker: without those about workers and output."""
    kept, skips_value = [], False
    for argument in argv:
        if skips_value:
            skips_value = False
        elif argument in TAKEN:
            skips_value = True
        elif argument in ("--wait", "--json") or argument.startswith(
            tuple(f"{name}=" for name in TAKEN)
        ):
            continue
        else:
            kept.append(argument)
    return kept
