"""What rounding to depths promises: levels at whole bits, true slopes between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.budget.depths import depths_of
from slimjax.nn.depths import round_rows, round_to_depths
from slimjax.nn.quantize import FULL, STATES, quantize, uniform_precision
from slimjax.trees import flatten

ROWS = np.random.default_rng(0).standard_normal((3, 2000)).astype(np.float32)
NAMES = {"mlp": {"up": ("embed", "mlp"), "scale": ("embed",)}}


@pytest.mark.parametrize("group_size", [0, 3])
@pytest.mark.parametrize("bits", [8, *STATES])
def test_at_bits_that_units_may_have_it_is_the_quantizer(bits, group_size):
    source = np.random.default_rng(bits)
    draw = lambda *shape: jnp.asarray(source.standard_normal(shape), jnp.float32)
    weights = {"mlp": {"up": draw(7, 5), "scale": draw(7)}}
    precision = uniform_precision(weights, NAMES, bits)
    fits = {"mlp": {"up": jnp.linspace(0.8, 1.2, 5), "scale": jnp.ones(1)}}
    precision = jax.tree.map(jnp.asarray, {"bits": precision["bits"], "fit": fits})
    expected = quantize(weights, NAMES, precision, group_size)
    depths = depths_of(jax.tree.map(np.asarray, flatten(precision["bits"])))
    depths = jax.tree.map(jnp.asarray, depths)
    actual = round_to_depths(weights, NAMES, depths, fits, group_size)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6), actual, expected)


def test_nothing_is_left_at_depth_zero_and_everything_at_sixteen():
    one = jnp.ones(3)
    np.testing.assert_array_equal(round_rows(jnp.asarray(ROWS), 0 * one, one), 0.0)
    tree = {"mlp": {"up": jnp.asarray(ROWS.T)}}
    depths, fits = {"mlp": {"mlp": FULL * one}}, {"mlp": {"up": one}}
    same = round_to_depths(tree, NAMES, depths, fits)["mlp"]["up"]
    np.testing.assert_array_equal(same, ROWS.T)


@pytest.mark.parametrize("depth", [1.0, 4.0, 6.5])
def test_the_slope_in_the_depth_is_that_of_the_error(depth):
    def error(b):
        return jnp.mean((round_rows(jnp.asarray(ROWS), b, jnp.ones(3)) - ROWS) ** 2)

    at = lambda b: jnp.full(3, b, jnp.float32)
    slope = float(jax.grad(error)(at(depth)).sum())
    # An error that falls by 4 a bit has this slope between two points a bit away.
    rise = float(error(at(depth + 1)) - error(at(depth - 1))) / 2 / 1.35
    assert slope == pytest.approx(rise, rel=0.5)
    assert slope < 0


def test_weights_beyond_the_ends_pull_at_the_depth_alone():
    rows = jnp.array([[0.3, -0.4, 9.0, -0.2, 0.1, 0.25]])
    total = lambda w, b: round_rows(w, b, jnp.ones(1)).sum()
    of_weights, of_depth = jax.grad(total, (0, 1))(rows, jnp.array([2.0]))
    np.testing.assert_allclose(of_weights, [[1, 1, 0, 1, 1, 1]], rtol=1e-6)
    assert of_depth[0] > 0
