"""Choosing the next token from its scores."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from slimjax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: Divides the logits; 0 takes the best token always (greedy).
        top_k: Only the k best tokens may come; 0 for all.
        top_p: Only the best tokens that together reach this probability may come.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        """Refuses values that choose nothing."""
        if not math.isfinite(self.temperature) or self.temperature < 0:
            raise ConfigError(f"--temperature={self.temperature} must be 0 or more.")
        if self.top_k < 0:
            raise ConfigError(f"--top_k={self.top_k} must be 0 (off) or more.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"--top_p={self.top_p} must be above 0 and at most 1.")


def sample(
    logits: Float[Array, "B V"], key: Array, sampling: Sampling
) -> Int[Array, " B"]:
    """Returns one token for each row.

    Args:
        logits: Scores of all tokens.
        key: One for all rows, or one for each, ``[B]``.
        sampling: How tokens are chosen.

    References:
        Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020,
        section 3.1 (top-p).
    """
    if sampling.temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    logits = logits / sampling.temperature
    ordered = jnp.sort(logits, axis=-1, descending=True)  # Best first.
    least = jnp.full((logits.shape[0], 1), -jnp.inf)
    if sampling.top_k:
        least = ordered[:, min(sampling.top_k, logits.shape[-1]) - 1][:, None]
    if sampling.top_p < 1:
        probabilities = jax.nn.softmax(jnp.where(ordered < least, -jnp.inf, ordered))
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        nucleus = jnp.where(before < sampling.top_p, ordered, jnp.inf)
        least = jnp.maximum(least, jnp.min(nucleus, axis=-1, keepdims=True))
    allowed = jnp.where(logits < least, -jnp.inf, logits)
    draw = jax.random.categorical if key.ndim == 0 else jax.vmap(jax.random.categorical)
    return draw(key, allowed).astype(jnp.int32)
