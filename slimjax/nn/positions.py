"""Where a token stands: rotary positions, and vectors of sinusoids."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

LONGEST = 10_000.0
"""Longest wave length of `sinusoids`, by 2 pi."""

Rotation = tuple[Float[Array, "B T 1 h"], Float[Array, "B T 1 h"]]
"""Cosines and sines of each position's angles, h = H / 2."""


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """How rotary angles are slowed down for texts longer than those of pretraining.

    Attributes:
        kind: ``linear``: all frequencies are divided by `factor`. ``llama3``: those
            whose wave is longer than ``length / low`` are, those of waves shorter than
            ``length / high`` are not, and the ones between them in part.
        factor: What frequencies are divided by.
        low: Of ``llama3``: waves per `length` below which all is divided.
        high: Of ``llama3``: waves per `length` above which nothing is.
        length: Of ``llama3``: longest text of pretraining, in tokens.

    References:
        Chen et al., "Extending Context Window of Large Language Models via Positional
        Interpolation", 2023, section 2.3; "The Llama 3 Herd of Models", 2024, 3.2.
    """

    kind: str
    factor: float
    low: float = 1.0
    high: float = 4.0
    length: int = 8192

    def divisors(self, frequencies: Float[np.ndarray, " h"]) -> np.ndarray:
        """Returns what each frequency, in radians per token, is divided by.

        Examples:
            >>> RopeScaling("llama3", 8.0).divisors(np.array([1.0, 1e-5])).tolist()
            [1.0, 8.0]
        """
        if self.kind == "linear":
            return np.full_like(frequencies, self.factor)
        waves = self.length * frequencies / (2 * math.pi)
        kept = np.clip((waves - self.low) / (self.high - self.low), 0.0, 1.0)
        return 1.0 / ((1.0 - kept) / self.factor + kept)


def rotation_table(
    positions: Int[Array, "B T"],
    head_dim: int,
    base: float,
    scaling: RopeScaling | None = None,
) -> Rotation:
    """Returns cosines and sines of the angles ``t * base^(-2i / H)``, h = H / 2.

    Args:
        positions: The positions, t.
        head_dim: Width of a head, H.
        base: Base of the frequencies.
        scaling: What they are divided by; None for nothing.
    """
    exponents = jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim
    frequencies = base**-exponents
    if scaling is not None:
        exact = base ** -(np.arange(0, head_dim, 2) / head_dim)
        frequencies = frequencies / jnp.asarray(scaling.divisors(exact), jnp.float32)
    frequencies = frequencies.reshape(1, 1, 1, -1)
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


def sinusoids(positions: Int[Array, "#B T"], width: int) -> Float[Array, "#B T D"]:
    """Returns vectors of positions without parameters.

    Channel 2i of position t is ``sin(t * 10000^(-2i / width))``, channel 2i + 1 its
    cosine.

    Args:
        positions: The positions.
        width: Width of the residual stream at its start.

    References:
        Vaswani et al., "Attention Is All You Need", 2017, section 3.5.

    Examples:
        >>> sinusoids(jnp.array([[0]]), 4)
        Array([[[0., 1., 0., 1.]]], dtype=float32)
    """
    numbers = np.arange(width)
    frequencies = LONGEST ** (-(numbers // 2 * 2) / width)
    row = lambda x: jnp.asarray(x, jnp.float32)[None, None]
    angles = positions[..., None].astype(jnp.float32) * row(frequencies)
    return jnp.where(row(numbers % 2) > 0, jnp.cos(angles), jnp.sin(angles))
