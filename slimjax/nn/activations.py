"""Activations of hidden units, by the names of `slimjax.nn.implementations`."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from slimjax.nn.implementations import ACTIVATIONS

FUNCTIONS = {
    "silu": jax.nn.silu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "none": lambda x: x,
}


def activate(x: Float[Array, "*shape"], name: str) -> Float[Array, "*shape"]:
    """Returns the activation of that name of each number.

    Raises:
        ValueError: If there is no activation of that name.

    References:
        Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, section 2.
        So et al., "Primer", 2021, section 3 (the squared ReLU).

    Examples:
        >>> activate(jnp.array([-1.0, 3.0]), "relu2")
        Array([0., 9.], dtype=float32)
    """
    if name not in FUNCTIONS:
        raise ValueError(f"{name!r} is not an activation. Known: {ACTIVATIONS}.")
    return FUNCTIONS[name](x)
