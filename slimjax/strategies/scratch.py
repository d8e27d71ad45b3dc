"""A given shape from a fresh start: plain training of ``config.model.architecture``.

The baseline for a slimmed model of the same shape. It differs from `none` in that the
shape must be given.
"""

from slimjax.strategies.none import STRATEGY as STRATEGY
