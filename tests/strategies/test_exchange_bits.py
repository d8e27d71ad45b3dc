"""Factors from predicted to measured costs, which no rounding of a sum may move."""

import numpy as np
import pytest

from slimjax.strategies.exchange_bits import RESOLUTION, find_factors, scale

ONES = np.ones(4)


def test_factors_are_the_measured_ones_to_the_root_of_the_root_of_two():
    predicted, measured = (
        np.array([0.0, 1.0, 4.0, 60.0]),
        np.array([0, 0.01, 0.09, 0.6]),
    )
    ratios = find_factors(predicted, measured, ONES)[1:] * predicted[1:] / measured[1:]
    assert np.all(np.abs(np.log2(ratios)) <= 0.25 + 1e-12)


def test_what_is_too_small_to_tell_is_told_by_fewer_bits_or_by_all():
    predicted = np.array([0, 1.0, 2.0, 8.0])
    measured = np.array([0, -RESOLUTION, RESOLUTION / 2, 32.0])
    assert find_factors(predicted, measured, ONES).tolist() == [4.0] * 4
    unseen = np.full(4, RESOLUTION / 2)
    assert find_factors(predicted, unseen, 2 * ONES).tolist() == [2.0] * 4
    never = np.array([0, 1.0, np.inf, np.inf])  # A vector has no fewer than 8 bits.
    costs = scale(never[None], find_factors(never, 0 * ONES, 2 * ONES))[0]
    assert costs[1] == pytest.approx(2.0)
    assert np.isinf(costs[2:]).all()


def test_sums_in_another_order_give_the_same_factors():
    source = np.random.default_rng(0)
    moved = 0
    for _ in range(300):
        predicted = source.lognormal(0, 3, 4)
        measured = source.lognormal(np.log(1e-3), 2, 4)
        other = measured + source.uniform(-3e-7, 3e-7, 4)
        pair = (find_factors(predicted, m, ONES) for m in (measured, other))
        moved += not np.array_equal(*pair)
    assert moved <= 6  # Those in the middle between two powers, or near `RESOLUTION`.
