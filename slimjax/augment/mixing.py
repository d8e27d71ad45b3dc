"""Mixup: a row is mixed with another one, and so are their answers.

Row i is mixed with the i-th row from the end of its batch; rows come in another order
in each epoch. References: Zhang et al., "mixup: Beyond Empirical Risk Minimization",
2018, equation 1; here each row draws a share of its own.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

STEPS = 1 << 12
"""Shares are multiples of ``1 / STEPS``, so that devices need not round alike."""


def draw_shares(key: Key[Array, ""], num_rows: int, alpha: float) -> Float[Array, " B"]:
    """Returns the share that each row keeps of itself, from ``Beta(alpha, alpha)``."""
    shares = jax.random.beta(key, alpha, alpha, (num_rows,))
    return jnp.round(shares * STEPS) / STEPS


def partners(x: Shaped[Array, "B ..."]) -> Shaped[Array, "B ..."]:
    """Returns, for each row, the one that it is mixed with."""
    return x[::-1]


def mix(x: Float[Array, "B ..."], share: Float[Array, " B"]) -> Float[Array, "B ..."]:
    """Returns ``share * x + (1 - share) * partner``.

    With one product there is one way to fuse it with the sum, so devices round alike.
    """
    own, other = share.reshape(-1, *[1] * (x.ndim - 1)), partners(x)
    return other + own * (x - other)
