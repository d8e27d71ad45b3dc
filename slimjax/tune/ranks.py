"""By what arms are ranked: a metric of the validation split, rounded."""

import collections
import math
from collections.abc import Mapping
from typing import NamedTuple

from slimjax import tasks
from slimjax.errors import ConfigError, suggest
from slimjax.train.config import RunConfig

SPLIT, UNSEEN = "valid_", "test_"
LOSS = "nats_per_target"
NUM_DIGITS = 4


class Ranking(NamedTuple):
    """A metric to rank by.

    Attributes:
        name: Its name in reports, such as ``valid_bits_per_byte``.
        words: Its name for people.
        better: ``low`` or ``high``.
    """

    name: str
    words: str
    better: str


def find_ranking(run: RunConfig, name: str) -> Ranking:
    """Returns the metric that ``--metric`` names, or the headline of the task.

    Args:
        run: A run of the sweep.
        name: The metric; empty for the headline.

    Raises:
        ConfigError: If it is of the test split, or not one of the task.
    """
    task = tasks.get(run.task).make_task(collections.defaultdict(int))
    task = task if task.fit is None else task.fit(run.head)
    known = {
        f"{SPLIT}{metric.key}": Ranking(
            f"{SPLIT}{metric.key}", metric.words, metric.better
        )
        for metric in task.metrics
        if metric is task.headline or not metric.from_answers
    }
    known.setdefault(SPLIT + LOSS, Ranking(SPLIT + LOSS, "nats per target", "low"))
    if not name:
        return known[f"{SPLIT}{task.headline.key}"]
    if name.startswith(UNSEEN):
        raise ConfigError(
            f"--metric={name} is of the test split, and nothing may be chosen by that. "
            f"{suggest(SPLIT + name.removeprefix(UNSEEN), known)}"
        )
    if name not in known:
        raise ConfigError(
            f"--metric={name} is not a metric of config.task={run.task!r}. "
            f"{suggest(name, known)}"
        )
    return known[name]


def rank(values: Mapping[str, float], better: str) -> list[str]:
    """Returns names, the best first; those with equal values by name.

    Values that are equal to four digits count as equal.

    Examples:
        >>> rank({"b": 1.20001, "c": 1.1, "a": 1.20004}, "low")
        ['c', 'a', 'b']
        >>> rank({"b": 0.7, "a": 0.6}, "high")
        ['b', 'a']
    """
    sign = 1.0 if better == "low" else -1.0
    return sorted(values, key=lambda name: (sign * round_digits(values[name]), name))


def round_digits(value: float) -> float:
    """Returns a number rounded to four digits.

    Examples:
        >>> round_digits(1.23456), round_digits(0.000123456)
        (1.235, 0.0001235)
    """
    return float(f"{value:.{NUM_DIGITS - 1}e}") if math.isfinite(value) else value
