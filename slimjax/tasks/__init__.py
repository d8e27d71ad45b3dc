"""What Error means: one file for each task, and what all tasks share.

`base` says what a task is, `answers` how it answers, and `error` sums its losses. Every
other file is a task, by the name that ``config.task`` has for it. Metrics are in
`slimjax.metrics`.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from slimjax.config import build
from slimjax.data.config import DataConfig
from slimjax.errors import ConfigError, suggest
from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.tasks.base import Metric as Metric
    from slimjax.tasks.base import Targets as Targets
    from slimjax.tasks.base import Task as Task
    from slimjax.tasks.error import make_error_fn as make_error_fn
    from slimjax.tasks.error import make_outputs_fn as make_outputs_fn

SHARED = ("answers", "base", "error", "inputs", "labelled", "pixels", "spelling")
"""Files of this room that are no tasks."""

__getattr__ = exports(
    __name__,
    {
        "Metric": "base",
        "Targets": "base",
        "Task": "base",
        "make_error_fn": "error",
        "make_outputs_fn": "error",
    },
)


def names() -> tuple[str, ...]:
    """Returns the names of all tasks: the files of this room."""
    found = {module.name for module in pkgutil.iter_modules(__path__)}
    return tuple(sorted(found - set(SHARED)))


def lengths(name: str, data: Mapping[str, Any]) -> dict[str, int]:
    """Returns the positions of a row, by tower, that a task has with ``config.data``.

    Raises:
        ConfigError: If the block is invalid.
    """
    of = getattr(get(name), "lengths", None)
    if of is None:
        return {"": int(data.get("seq_len", 0))}
    return of(build(DataConfig, dict(data), "config.data"))


def get(name: str) -> ModuleType:
    """Returns the file of a task, which has ``load`` and ``make_task``.

    Raises:
        ConfigError: If there is no such task.
    """
    if name not in names():
        hint = suggest(str(name), names())
        raise ConfigError(f"config.task={name!r} is unknown. {hint}")
    return importlib.import_module(f"{__name__}.{name}")
