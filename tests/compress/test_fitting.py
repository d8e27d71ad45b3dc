"""What a weight is fitted to, and what it is not fitted to."""

import numpy as np
import pytest

from slimjax.compress.fitting import RIDGES, Fit

I, D = 40, 7


def draw_fit(num_positions, signal, noise, seed=0):
    """Returns a weight, and sums in which it misses a part of what it should write."""
    source = np.random.default_rng(seed)
    weight = source.standard_normal((I, D)).astype(np.float32)
    missed = source.standard_normal((I, D)) * signal
    sums = Fit()
    for _ in range(4):
        hidden = source.standard_normal((num_positions // 4, I))
        error = source.standard_normal((len(hidden), D)) * noise
        sums.add(hidden, hidden @ (weight + missed) + error)
    return weight, missed, sums


@pytest.mark.parametrize("has_bias", [False, True])
def test_a_weight_is_not_fitted_to_noise(has_bias):
    weight, _, sums = draw_fit(200, signal=0.0, noise=1.0)
    fitted, bias = sums.solve(weight, has_bias=has_bias)
    np.testing.assert_array_equal(fitted, weight)
    assert np.abs(bias).max() < (0.5 if has_bias else 1e-12)


@pytest.mark.parametrize("has_bias", [False, True])
def test_what_it_missed_is_found(has_bias):
    weight, missed, sums = draw_fit(4000, signal=0.3, noise=1.0)
    fitted, _ = sums.solve(weight, has_bias=has_bias)
    assert np.sum((fitted - weight - missed) ** 2) < 0.1 * np.sum(missed**2)


def test_the_ridge_grows_with_the_noise():
    chosen = [
        draw_fit(200, signal=0.1, noise=noise)[2].choose(
            draw_fit(200, signal=0.1, noise=noise)[0], has_bias=False
        )
        for noise in (0.01, 0.5, 5.0)
    ]
    assert chosen[0] == RIDGES[0]
    assert chosen[1] in RIDGES[1:]
    assert chosen[2] is None


def test_a_single_ridge_is_used_as_it_is():
    weight, _, sums = draw_fit(200, signal=0.0, noise=1.0)
    fitted, _ = sums.solve(weight, (0.002,), has_bias=False)
    assert np.abs(fitted - weight).max() > 0.05
