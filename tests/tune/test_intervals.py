"""Means and Student's intervals, against figures worked out by hand."""

import numpy as np
import pytest

from slimjax.tune.intervals import take_mean


def test_three_seeds_by_hand():
    found = take_mean([1.40, 1.50, 1.45])
    assert found.mean == pytest.approx(1.45)
    assert found.sd == pytest.approx(0.05)
    half = 4.302653 * 0.05 / 3**0.5  # The table's t for 2 degrees of freedom.
    assert (found.low, found.high) == pytest.approx((1.45 - half, 1.45 + half))


def test_one_seed_has_no_interval_and_none_no_mean():
    found = take_mean([2.5])
    assert (found.mean, found.sd, found.low, found.num) == (2.5, None, None, 1)
    assert take_mean([]) is None
    same = take_mean([2.0, 2.0])
    assert (same.low, same.high) == (2.0, 2.0)


def test_the_truth_is_inside_95_times_out_of_100():
    draws = np.random.default_rng(0).normal(3.0, 0.2, (1000, 3))
    inside = [i.low <= 3.0 <= i.high for i in map(take_mean, draws.tolist())]
    assert 0.93 < np.mean(inside) < 0.97
