"""Language models in JAX that find their own size.

`fit` trains and slims a model from a config into a run folder; `load` opens the model
of a run folder. Every room can be used on its own:

    from slimjax import nn, models, objective, resize, train

The import of this package loads no jax: rooms are loaded when they are first used.
"""

import importlib
from typing import TYPE_CHECKING

from slimjax.version import VERSION

if TYPE_CHECKING:
    from slimjax.api import fit as fit
    from slimjax.predict.model import load as load

__version__ = VERSION

_ROOMS = ("nn", "text", "data", "models", "objective", "tasks", "store", "strategies")
_ROOMS += ("resize", "generate", "train", "predict", "report", "native", "metrics")
_HOMES = {"fit": "slimjax.api", "load": "slimjax.predict.model"}


def __getattr__(name: str):
    """Loads a room, or one of the two functions, at its first use."""
    if name in _ROOMS:
        return importlib.import_module(f"slimjax.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'slimjax' has no attribute {name!r}")
