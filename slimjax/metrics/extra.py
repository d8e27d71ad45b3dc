"""Libraries of the extra ``tasks``, which are loaded only where they are used."""

import importlib
import importlib.util
from types import ModuleType

from slimjax.errors import ConfigError

INSTALL = "pip install 'slimjax[tasks]'"

NEEDS = {
    "bleu": "sacrebleu",
    "chrf": "sacrebleu",
    "rouge1": "rouge_score",
    "rouge2": "rouge_score",
    "rougeL": "rouge_score",
}
"""Metrics that need a library, and its module."""


def is_known(key: str) -> bool:
    """Whether the library of a metric is installed; a metric may need none."""
    return key not in NEEDS or has_library(NEEDS[key])


def has_library(module: str) -> bool:
    """Whether a library is installed; it is not loaded."""
    return importlib.util.find_spec(module) is not None


def load_library(module: str) -> ModuleType:
    """Returns a library of the extra.

    Raises:
        ConfigError: If it is not installed.
    """
    if not has_library(module.split(".")[0]):
        raise ConfigError(f"{module} is not installed: {INSTALL}.")
    return importlib.import_module(module)


def describe_left_out(keys: tuple[str, ...] = tuple(NEEDS)) -> str:
    """Returns the metrics that need a missing library, with its remedy, or nothing."""
    missing = [key for key in keys if not is_known(key)]
    return f"{', '.join(missing)}: {INSTALL}" if missing else ""
