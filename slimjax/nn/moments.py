"""Second moments of what a weight reads, for those who ask for them.

They are written to the collection ``moments`` when it is mutable, under the weight's
own path, and cost nothing otherwise.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from slimjax.nn.products import product

MOMENTS = "moments"


def wants_moments(module: nn.Module) -> bool:
    """Whether somebody asked for moments in this call."""
    return module.is_mutable_collection(MOMENTS) and not module.is_initializing()


def note_moments(module: nn.Module, weight: str, x: Float[Array, "*batch I"]) -> None:
    """Adds ``x^T x [I I]``, summed over all rows, to the moments of a weight."""
    rows = x.reshape(-1, x.shape[-1])
    shape = (rows.shape[1], rows.shape[1])
    moments = module.variable(MOMENTS, weight, jnp.zeros, shape, jnp.float32)
    moments.value += product(rows.T, rows, jnp.float32)
