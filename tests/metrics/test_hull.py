"""Hull, prices and hypervolume, against the definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.metrics.frontier import (
    find_corner,
    find_dominated,
    find_prices,
    hypervolume,
    lower_hull,
)

NUMBERS = st.integers(1, 40)
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=9)


@given(POINTS, st.floats(0, 50))
def test_every_price_chooses_a_point_of_the_hull(points, alpha):
    complexities = [alpha * size + error for size, error in points]
    on_hull = [complexities[i] for i in lower_hull(points)]
    assert min(on_hull) == pytest.approx(min(complexities))


@given(POINTS)
def test_each_point_of_the_hull_is_best_at_its_own_prices(points):
    prices = find_prices(points)
    assert [*prices] == lower_hull(points)
    ends = [end for pair in prices.values() for end in pair]
    assert ends[0] == 0 or ends[1] == math.inf
    for number, (low, high) in prices.items():
        alpha = (low + min(high, low + 1)) / 2
        complexities = [alpha * size + error for size, error in points]
        assert complexities[number] == pytest.approx(min(complexities))


@given(POINTS)
def test_no_point_of_the_hull_is_dominated(points):
    assert not {*lower_hull(points)} & find_dominated(points)


@given(POINTS)
def test_the_hypervolume_is_the_dominated_part_of_a_grid(points):
    corner = find_corner([points])
    exact = hypervolume(points, corner)
    # All numbers are whole, so cells between neighbours are covered wholly or not.
    area = 0.0
    for x in range(1, corner[0]):
        for y in range(1, corner[1]):
            if any(size <= x and error <= y for size, error in points):
                area += np.log((x + 1) / x) * np.log((y + 1) / y)
    assert exact == pytest.approx(area, abs=1e-9)


def test_an_error_of_nothing_has_an_area():
    points = [(1.0, 0.0), (2.0, 1.0)]
    assert math.isfinite(hypervolume(points, find_corner([points])))
