"""What frozen matrices promise: the product of what they are rounded to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilers import needs_compiler

from slimjax.native import library
from slimjax.nn.frozen import (
    FORMATS,
    freeze,
    frozen_columns,
    frozen_product,
    quantize_rows,
)

IN_PANELS = [False, pytest.param(True, marks=needs_compiler)]
SHAPES = [(1, 130, 70), (7, 33, 32), (70, 64, 5)]  # M I O; M in blocks of 8 4 2 1.


def draw(*shape):
    numbers = np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)
    return jnp.asarray(numbers)


@pytest.mark.parametrize("in_panels", IN_PANELS)
@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_is_exact_but_for_the_rounding_of_its_operands(
    in_panels, weights, shape
):
    assert not in_panels or library.register()
    num_rows, depth, width = shape
    x, kernel = draw(num_rows, depth), draw(depth, width)

    @jax.jit
    def run(x, kernel):
        matrix = freeze(kernel, weights, in_panels=in_panels)
        columns = frozen_columns(matrix, jnp.arange(width), depth)
        return frozen_product(x, matrix), columns, quantize_rows(x)

    actual, columns, (numbers, scale) = jax.tree.map(np.asarray, run(x, kernel))
    assert np.abs(columns - np.asarray(kernel).T).max() <= 0.01 * np.abs(kernel).max()
    if weights == "int8":
        rounded = numbers * scale[:, None]
    else:
        rounded = np.asarray(x.astype(weights).astype(np.float32))
    expected = rounded.astype(np.float64) @ columns.T.astype(np.float64)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-4)


def test_rows_and_columns_of_zeros_stay_zero():
    numbers, scale = quantize_rows(jnp.zeros((2, 5)))
    np.testing.assert_array_equal(numbers, 0)
    np.testing.assert_array_equal(scale, 0)
    matrix = freeze(jnp.zeros((5, 3)), "int8", in_panels=False)
    np.testing.assert_array_equal(frozen_product(draw(2, 5), matrix), 0)
