"""What healing promises."""

import jax
import jax.numpy as jnp
import numpy as np
from compress.test_layer_refit import cut_model, some
from compress.tiny import draw_rows, make_decoder

from slimjax.compress.config import HealConfig
from slimjax.compress.healing import SmallMoments, heal, scale_by_small_adam
from slimjax.compress.losses import divergence
from slimjax.models import HeadConfig
from slimjax.nn.readout import Readout
from slimjax.trees import flatten


def test_a_cut_model_comes_nearer_to_the_original():
    model, variables, _ = make_decoder()
    slim, weights = cut_model(model, variables, some)
    rows = draw_rows(64)
    healed, losses = heal(
        *(model, variables, slim.model, weights, rows),
        num_steps=30,
        healing=HealConfig(learning_rate=3e-3),
    )
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    table = healed["params"]["tokens"]["embedding"]
    np.testing.assert_array_equal(table, weights["params"]["tokens"]["embedding"])


def test_steps_are_as_large_as_the_settings_say():
    """The first of two steps moves nothing, and the next one of Adam the rate."""
    model, variables, _ = make_decoder()
    slim, weights = cut_model(model, variables, some)
    parts = model, variables, slim.model, weights, draw_rows(4)
    for rate in (1e-3, 1e-5):
        healing = HealConfig(learning_rate=rate, warmup_steps=1)
        healed, _ = heal(*parts, num_steps=2, healing=healing)
        before = flatten(weights["params"])
        moves = [
            np.abs(w - before[k]).max() for k, w in flatten(healed["params"]).items()
        ]
        np.testing.assert_allclose(max(moves), rate, rtol=0.05)


def test_the_original_has_nothing_to_learn():
    model, variables, _ = make_decoder()
    _, losses = heal(*(model, variables, model, variables, draw_rows(4)), num_steps=1)
    np.testing.assert_allclose(losses, 0.0, atol=1e-5)


def test_the_divergence_is_that_of_its_definition():
    source = np.random.default_rng(0)
    one, two = source.standard_normal((2, 3, 5))
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (one, two))
    expected = np.sum(p * np.log(p / q), -1)
    readouts = [Readout(jnp.asarray(x), jnp.eye(5)) for x in (one, two)]
    found = divergence(HeadConfig("tokens", 5), *readouts)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_moments_are_small():
    tx = scale_by_small_adam()
    state = tx.init(jnp.zeros(3))
    updates, state = tx.update(jnp.array([1.0, -2.0, 0.5]), state)
    assert isinstance(state, SmallMoments)
    np.testing.assert_allclose(np.asarray(updates), [1, -1, 1], rtol=1e-2)
    kinds = {leaf.dtype for leaf in jax.tree.leaves((state.mean, state.square))}
    assert kinds == {jnp.dtype(jnp.bfloat16)}
