"""Nearness of what a blocked computation and its formula return."""

import jax
import numpy as np


def assert_close(one, other, atol: float) -> None:
    """Checks structure and leaves; no readout is made of what a check returns."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=atol)
