"""A given shape from a fresh start: plain training of ``config.model.architecture``.

The baseline for what a slimmed model is worth: it differs from `none` in name, and in
that it asks for the shape.
"""

from slimjax.strategies.none import STRATEGY as STRATEGY
