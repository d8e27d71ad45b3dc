"""The kernels of the optimizer: many arrays in one call, all of them float32."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from slimjax.native.foreign import like, make_call, numbers

MOST_ARRAYS = 24
"""Arrays that a call works on: XLA's time grows with the square of their number."""


def square_sum(arrays: Sequence[Array]) -> Float[Array, ""]:
    """Returns the sum of the squares of all numbers in all arrays."""
    call = make_call("slimjax_square_sum", numbers())
    return sum((call(*part) for part in _parts(arrays)), jnp.zeros(()))


def add(left: Sequence[Array], right: Sequence[Array]) -> list[Array]:
    """Returns ``left + right``, array by array."""
    out = []
    for xs, ys in zip(_parts(left), _parts(right), strict=True):
        places = {i: i for i in range(len(xs))}
        out += make_call("slimjax_add", tuple(map(like, xs)), places)(*xs, *ys)
    return out


def adam(
    scalars: Float[Array, "4"],
    grads: Sequence[Array],
    moments: tuple[Sequence[Array], Sequence[Array]],
    weights: Sequence[Array],
    decays: Sequence[float],
    **betas: float,
) -> tuple[list[Array], list[Array], list[Array]]:
    """Returns updates and both moments after a step of AdamW, array by array.

    Args:
        scalars: Factors of the gradients, of the first and the second moment, and of
            the update.
        grads: Gradients.
        moments: First and second moments.
        weights: Weights, which decay.
        decays: What of each weight is added to its update, before the last factor.
        **betas: beta1, beta2 and epsilon.
    """
    outs = [], [], []
    options = {name: np.float32(value) for name, value in betas.items()}
    operands = map(_parts, (grads, *moments, weights, decays))
    for *parts, factors in zip(*operands, strict=True):
        count = len(factors)
        places = {1 + i: i for i in range(count, 3 * count)}
        call = make_call("slimjax_adam", tuple(map(like, parts[0])) * 3, places)
        found = call(
            *(scalars, *parts[0], *parts[1], *parts[2], *parts[3]),
            decays=np.asarray(factors, np.float32),
            **options,
        )
        for i, out in enumerate(outs):
            out += found[i * count : (i + 1) * count]
    return outs


def _parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    """Returns items in parts for one call each."""
    return [items[i : i + MOST_ARRAYS] for i in range(0, len(items), MOST_ARRAYS)]
