"""What dropout promises, of activations and of weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.nn.dropout import drop_connect, dropout, fold_name

NAMES = {
    "mlp": {
        "up": ("embed", "mlp"),
        "up_bias": ("mlp",),
        "down_bias": ("bias", "embed"),
    },
    "attention": {"query": ("embed", "heads", "head_dim")},
}


def draw():
    shapes = {"up": (40, 60), "up_bias": (60,), "down_bias": (1, 40)}
    weights = {name: jnp.ones(shape) for name, shape in shapes.items()}
    return {"mlp": weights, "attention": {"query": jnp.ones((40, 6, 10))}}


def test_no_key_drops_nothing():
    x = jnp.ones((3, 4))
    assert dropout(x, 0.5, None) is x
    weights = draw()
    assert drop_connect(weights, NAMES, {"mlp": 0.5}, None) is weights
    assert dropout(x, 0.0, jax.random.key(0)) is x


def test_a_share_is_dropped_and_the_mean_kept():
    x = jnp.ones((200, 50))
    out = dropout(x, 0.25, jax.random.key(0))
    np.testing.assert_allclose(np.unique(out), [0, 1 / 0.75], rtol=1e-6)
    assert float(jnp.mean(out == 0)) == pytest.approx(0.25, abs=0.02)
    slopes = jax.grad(lambda x: dropout(x, 0.25, jax.random.key(0)).sum())(x)
    np.testing.assert_array_equal(slopes, out)


def test_sites_and_layers_differ_and_each_is_a_function_of_its_key():
    x, key = jnp.ones((20, 50)), jax.random.key(0)
    run = lambda key: np.asarray(dropout(x, 0.5, key))
    first, second = run(fold_name(key, "mlp")), run(fold_name(key, "attention"))
    np.testing.assert_array_equal(first, run(fold_name(key, "mlp")))
    assert (first != second).any()
    layers = [run(jax.random.fold_in(key, i)) for i in range(2)]
    assert (layers[0] != layers[1]).any()
    assert fold_name(None, "mlp") is None


def test_a_scanned_layer_drops_what_an_unrolled_one_does():
    x, key = jnp.ones((20, 5)), jax.random.key(0)
    of_layer = lambda i: dropout(x, 0.5, fold_name(jax.random.fold_in(key, i), "mlp"))
    _, scanned = jax.lax.scan(lambda _, i: (None, of_layer(i)), None, jnp.arange(3))
    np.testing.assert_array_equal(scanned, [of_layer(i) for i in range(3)])


def test_weights_of_named_axes_are_dropped_one_by_one_and_vectors_are_not():
    out = drop_connect(draw(), NAMES, {"mlp": 0.2}, jax.random.key(0))
    up = np.asarray(out["mlp"]["up"])
    assert np.mean(up == 0) == pytest.approx(0.2, abs=0.03)
    assert up.mean() == pytest.approx(1.0, abs=0.03)
    for name in ("up_bias", "down_bias"):
        np.testing.assert_array_equal(out["mlp"][name], 1.0)
    np.testing.assert_array_equal(out["attention"]["query"], 1.0)


def test_units_can_be_dropped_as_a_whole():
    rates = {"heads": 0.4, "mlp": 0.3}
    out = drop_connect(draw(), NAMES, rates, jax.random.key(3), whole=True)
    up = np.asarray(out["mlp"]["up"])
    assert (up == up[:1]).all()
    assert 0 < np.mean(up[0] == 0) < 0.6
    query = np.asarray(out["attention"]["query"])
    assert (query == query[:1, :, :1]).all()


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_rates_outside_of_zero_to_one_are_refused(rate):
    with pytest.raises(ValueError, match="must be at least 0 and less than 1"):
        dropout(jnp.ones(2), rate, jax.random.key(0))
    with pytest.raises(ValueError, match="must be at least 0 and less than 1"):
        drop_connect(draw(), NAMES, {"mlp": rate}, jax.random.key(0))
