"""Which units are removed: one small file per strategy.

`get` returns a strategy by the name that ``config.objective.strategy`` has; `base`
defines what a strategy is. A new one is a file with a ``STRATEGY``, and its name in
`slimjax.objective.config.STRATEGIES`.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimjax.strategies.base import Strategy


def get(name: str) -> "Strategy":
    """Returns the strategy of a known name."""
    return importlib.import_module(f"slimjax.strategies.{name}").STRATEGY
