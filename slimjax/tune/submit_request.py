"""What ``--submit``, ``--workers`` and ``--slurm_NAME`` ask for, checked first."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from slimjax.errors import ConfigError, suggest

PLACES = ("local", "slurm")
MAX_WORKERS = 1000
OWN = ("additional_parameters", "array", "error", "job_name", "map_count", "open_mode")
OWN += ("output", "setup", "signal", "srun_args", "teardown", "use_srun")
"""Options that are set here, or are none of Slurm's."""

NUMBERS = ("array_parallelism", "nodes", "ntasks_per_node", "signal_delay_s")
TIME = r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?"


@dataclasses.dataclass(frozen=True)
class Request:
    """Where a command is to run, and how often at once.

    Attributes:
        place: ``local`` or ``slurm``.
        workers: How many jobs.
        options: Of Slurm, by their names with underscores, such as ``partition``.
    """

    place: str
    workers: int = 1
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        """Refuses places and numbers that do not exist, and options without a use."""
        if self.place not in PLACES:
            hint = suggest(self.place, PLACES)
            raise ConfigError(f"--submit={self.place} is unknown. {hint}")
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ConfigError(
                f"--workers={self.workers} must be in [1, {MAX_WORKERS}]."
            )
        for name, value in self.options.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in OWN:
                raise ConfigError(
                    f"--slurm_{name}={value} cannot be set: it is no option of Slurm, "
                    "or one that slimjax sets."
                )
            if not value or not value.isprintable():
                raise ConfigError(f"--slurm_{name}={value!r} must be one line of text.")
        parse_minutes(self.options.get("time", "1"))


def parse_minutes(text: str) -> int:
    """Returns the minutes of a time as Slurm writes it, rounded up.

    Raises:
        ConfigError: If it is none.

    Examples:
        >>> [parse_minutes(t) for t in ("90", "90:30", "4:00:00", "1-0", "2-12:30")]
        [90, 91, 240, 1440, 3630]
    """
    found = re.fullmatch(TIME, text)
    if found is None:
        raise ConfigError(
            f"--slurm_time={text} must be minutes, or a time such as 4:00:00 or "
            "1-12:00:00."
        )
    days, first, second, third = (int(part) if part else 0 for part in found.groups())
    if found[1] is not None:
        seconds = 86_400 * days + 3600 * first + 60 * second + third
    elif found[4] is not None:
        seconds = 3600 * first + 60 * second + third
    else:
        seconds = 60 * first + second
    if not seconds:
        raise ConfigError(f"--slurm_time={text} must be more than nothing.")
    return -(-seconds // 60)


def to_parameters(options: Mapping[str, str]) -> dict[str, Any]:
    """Returns submitit's parameters; options that it does not know pass through.

    Args:
        options: Of Slurm, by their names with underscores.

    Raises:
        ConfigError: If the time is missing, or one that is a number is none.
    """
    if "time" not in options:
        raise ConfigError(
            "--submit=slurm needs --slurm_time, how long a job may take at most, such "
            "as --slurm_time=4:00:00. A job that takes longer is queued again."
        )
    from submitit import SlurmExecutor

    known = SlurmExecutor._valid_parameters()
    parameters: dict[str, Any] = {"additional_parameters": {}}
    for name, value in options.items():
        if name == "time":
            parameters[name] = parse_minutes(value)
        elif name in NUMBERS:
            parameters[name] = _to_number(name, value)
        elif name in known:
            parameters[name] = value
        else:
            parameters["additional_parameters"][name] = value
    return parameters


def _to_number(name: str, value: str) -> int:
    if not value.isdecimal():
        raise ConfigError(f"--slurm_{name}={value} must be a whole number.")
    return int(value)
