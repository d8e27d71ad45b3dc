"""The maximum along an axis: the same values, and a gradient that is never lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.nn.largest import largest
from slimjax.nn.pooling import pool


@given(st.integers(1, 9), st.integers(0, 3), st.integers(0, 2), st.integers(0, 99))
def test_values_are_the_maxima_and_each_gradient_reaches_one_of_them(
    length, states, axis, seed
):
    source = np.random.default_rng(seed)
    shape = [2, 3, 4]
    shape[axis] = length
    x = source.normal(size=shape).astype(np.float32)
    x = np.round(x * states) if states else x  # Rounded values are equal often.
    value, pull = jax.vjp(lambda x: largest(x, axis), jnp.asarray(x))
    np.testing.assert_array_equal(value, x.max(axis))
    weights = source.uniform(1.0, 2.0, value.shape).astype(np.float32)
    (gradient,) = pull(jnp.asarray(weights))
    np.testing.assert_array_equal(gradient.sum(axis), weights)
    assert (np.count_nonzero(gradient, axis) == 1).all()
    is_largest = x == x.max(axis, keepdims=True)
    assert (np.asarray(gradient)[~is_largest] == 0).all()


@pytest.mark.wrong_types  # A length that is a symbol is no int.
def test_the_length_of_an_exported_model_may_be_a_symbol():
    (length,) = jax.export.symbolic_shape("T")
    rows = jax.ShapeDtypeStruct((2, length, 3), jnp.float32)
    exported = jax.export.export(jax.jit(lambda x: pool(x, "max")))(rows)
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(exported.call(x), x.max(1))


def test_a_value_that_is_no_number_is_the_largest():
    x = jnp.array([1.0, jnp.nan, 2.0])
    assert jnp.isnan(largest(x, 0))
    assert jnp.isnan(largest(x[::-1], 0))
