"""Copying: probabilities that mix a table with attention to a source."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.errors import ConfigError
from slimjax.nn.copying import Copying, CopyReadout, Source
from slimjax.nn.readout import Readout

SHAPE = dict(B=2, T=3, D=4, S=5, M=6, V=7)
B, T, D, S, M, V = SHAPE.values()


@pytest.fixture(scope="module")
def readout():
    """Returns a readout whose sources have padding and tokens that stand twice."""
    draw = np.random.default_rng(0)
    x, table = draw.normal(size=(B, T, D)), draw.normal(size=(V, D))
    tokens = np.array([[3, 1, 3, 6, 0], [2, 2, 2, 5, 1]])
    segments = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    source = Source(tokens, draw.normal(size=(B, S, M)).astype(np.float32), segments)
    source = jax.tree.map(jnp.asarray, source)
    layer = Copying(3, dtype=jnp.float32)
    x, table = (jnp.asarray(array, jnp.float32) for array in (x, table))
    plain = Readout(x, table)
    variables = layer.init(jax.random.key(1), x, source, plain)
    variables = jax.tree.map(
        lambda w: jnp.asarray(draw.normal(size=w.value.shape), jnp.float32),
        variables,
        is_leaf=lambda leaf: hasattr(leaf, "value"),
    )
    return layer.apply(variables, x, source, plain)


def textbook(readout: CopyReadout) -> np.ndarray:
    """Returns p by the formula, in float64."""
    logits = np.asarray(readout.x, np.float64) @ np.asarray(readout.table).T
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    c = 1 / (1 + np.exp(-np.asarray(readout.mix, np.float64)))[..., None]
    p, attention = (1 - c) * p, np.asarray(readout.attention, np.float64)
    for b in range(B):
        for t in range(T):
            for j, token in enumerate(np.asarray(readout.source)[b]):
                p[b, t, token] += c[b, t, 0] * attention[b, t, j]
    return p


def test_probabilities_are_those_of_the_formula_and_sum_to_one(readout):
    p = textbook(readout)
    np.testing.assert_allclose(p.sum(-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(np.exp(readout.logits()), p, rtol=1e-4, atol=1e-7)
    assert np.asarray(readout.attention)[0, :, 4].max() == 0  # Padding.


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_losses_need_no_whole_vocabulary(readout, smoothing):
    targets = np.array([[3, 0, 6], [2, 4, 5]])
    log_p = np.log(textbook(readout))
    own = np.take_along_axis(log_p, targets[..., None], -1)[..., 0]
    expected = -(1 - smoothing) * own - smoothing * log_p.mean(-1)
    actual = readout.scores(jnp.asarray(targets)).loss(smoothing)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_gradients_are_finite_where_nothing_can_be_copied(readout):
    def loss(attention):
        changed = readout.replace(attention=attention)
        return changed.scores(jnp.full((B, T), 4)).loss(0.1).sum()

    slope = jax.grad(loss)(jnp.zeros_like(readout.attention))
    assert np.isfinite(slope).all()


def test_a_model_that_copies_is_not_distilled(readout):
    with pytest.raises(ConfigError, match=r"config\.model\.copies"):
        readout.plain()
