"""What products read, and how the loss depends on what they write, for who asks.

Three collections, which cost nothing unless they are asked for:

* ``moments``, when mutable: x^T x of what the weights that write to a residual stream
  read, under the weight's own path;
* ``inputs``, when mutable: x itself, of every product. Products that read the same have
  one entry, under the first of them;
* ``slopes``: zeros that are added to what a product writes, so that their gradient is
  that of what it wrote. When mutable, they are made.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from slimjax.nn.products import product

MOMENTS, INPUTS, SLOPES = "moments", "inputs", "slopes"


def wants_moments(module: nn.Module) -> bool:
    """Whether somebody asked for moments in this call."""
    return module.is_mutable_collection(MOMENTS) and not module.is_initializing()


def note_moments(
    module: nn.Module,
    weight: str,
    x: Float[Array, "*batch I"],
    segments: Int[Array, "*batch"] | None = None,
) -> None:
    """Adds ``x^T x [I I]``, summed over all positions, to the moments of a weight.

    Args:
        module: The module that has the weight.
        weight: Its name.
        x: What it reads.
        segments: 0 for padding, which does not count; None where there is none.
    """
    if segments is not None:
        x = jnp.where(segments[..., None] > 0, x, 0)
    rows = x.reshape(-1, x.shape[-1])
    shape = (rows.shape[1], rows.shape[1])
    moments = module.variable(MOMENTS, weight, jnp.zeros, shape, jnp.float32)
    moments.value += product(rows.T, rows, jnp.float32)


def wants_inputs(module: nn.Module) -> bool:
    """Whether somebody asked for what products read in this call."""
    return module.is_mutable_collection(INPUTS) and not module.is_initializing()


def note_input(module: nn.Module, weight: str, x: Float[Array, "*batch I"]) -> None:
    """Keeps what a weight reads, if somebody asked for it."""
    if wants_inputs(module):
        module.variable(INPUTS, weight, lambda: x)


def wants_slopes(module: nn.Module, weight: str) -> bool:
    """Whether somebody asks how the loss depends on what a weight writes."""
    is_made = module.has_variable(SLOPES, weight)
    is_asked = module.is_mutable_collection(SLOPES) and not module.is_initializing()
    return is_made or is_asked


def add_slopes(
    module: nn.Module, weight: str, x: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Returns what a weight wrote, plus zeros if somebody wants its gradient."""
    if not wants_slopes(module, weight):
        return x
    return x + module.variable(SLOPES, weight, jnp.zeros, x.shape, jnp.float32).value
