"""How a parameter names its axes, once, where it is made."""

from typing import Any

import flax.linen as nn
from jax.nn.initializers import Initializer


def named(init: Initializer, *axes: str) -> Any:
    """Returns an initializer whose parameter carries the names of its axes.

    Examples:
        >>> import jax
        >>> init = named(nn.initializers.ones, "mlp", "embed")
        >>> init(jax.random.key(0), (3, 2)).names
        ('mlp', 'embed')
    """
    return nn.with_logical_partitioning(init, axes)
