"""Where a token stands: rotary position embedding."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Rotation = tuple[Float[Array, "B T 1 h"], Float[Array, "B T 1 h"]]
"""Cosines and sines of each position's angles, h = H / 2."""


def rotation_table(
    positions: Int[Array, "B T"], head_dim: int, base: float
) -> Rotation:
    """Returns cosines and sines of the angles ``t * base^(-2i / H)``, h = H / 2."""
    exponents = jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim
    frequencies = (base**-exponents).reshape(1, 1, 1, -1)
    angles = positions[..., None, None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Float[Array, "B T N H"], table: Rotation) -> Float[Array, "B T N H"]:
    """Turns the pairs (x_i, x_{i + H/2}) of each head by their position's angles.

    The pairs are halves, as in Llama's published weights, not neighbours.

    References:
        Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding",
        2021, section 3.4.
    """
    cos, sin = table
    first, second = jnp.split(x, 2, axis=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1)
