"""What prices of rows of the vocabulary promise."""

import numpy as np
import pytest

from slimjax.compress.row_prices import expect_rows, make_rows_curve, order_rows
from slimjax.data.vocabulary import Entries

LETTERS, AB, CD, ABCD, UNUSED = (0, 1, 2, 3), 4, 5, 6, 7


@pytest.fixture
def entries():
    """Returns a, b, c, d, ab, cd, abcd, and a row without an entry."""
    parts = (*[()] * 4, (0, 1), (2, 3), (AB, CD), ())
    return Entries(np.array([False] * 4 + [True] * 4), parts)


def test_a_row_goes_only_after_what_is_made_of_it(entries):
    expected = np.array([0, 0, 0, 0, 0.01, 0.02, 0.9, 0])
    order = order_rows(entries, expected)
    assert order.ids.tolist() == [UNUSED, ABCD, AB, CD]


def test_what_a_row_stood_for_is_met_in_its_parts(entries):
    """abcd, then ab and cd, then a, b, c and d: one token more each time."""
    expected = np.array([0, 0, 0, 0, 0.01, 0.02, 0.9, 0])
    order = order_rows(entries, expected)
    steps = [0.0, 0.9, 0.9 + 0.01, 0.9 + 0.02]
    np.testing.assert_allclose(np.diff(order.tokens), steps)
    assert order.kept(2, 8).tolist() == [*LETTERS, AB, CD]


def test_the_rarest_goes_first(entries):
    expected = np.array([0, 0, 0, 0, 0.3, 0.1, 0.0, 0])
    order = order_rows(entries, expected)
    assert order.ids.tolist()[2:] == [CD, AB]


def test_rows_that_were_not_seen_have_the_chance_of_what_one_part_alone_has():
    counts = np.array([[50, 6, 0, 0], [40, 0, 4, 0]])
    chances = np.array([0.9, 0.04, 0.04, 0.02])
    expected = expect_rows(counts, chances)
    np.testing.assert_allclose(expected[3], 0.5 * 0.02)  # Never more than half of it.
    chances = np.array([0.5, 0.1, 0.1, 0.3])
    expected = expect_rows(counts, chances)
    np.testing.assert_allclose(expected[3], 10 / 100)
    np.testing.assert_allclose(expected.sum(), 1)


def test_rows_that_are_more_likely_to_the_model_stay_longer(entries):
    counts = np.array([[9, 9, 9, 9, 0, 0, 0, 0], [9, 9, 9, 0, 0, 0, 0, 0]])
    chances = np.array([0.2, 0.2, 0.2, 0.2, 0.15, 0.05, 0.0, 0.0])
    order = order_rows(entries, expect_rows(counts, chances))
    assert order.ids.tolist()[-2:] == [CD, AB]


def test_the_curve_rises_from_nothing(entries):
    expected = np.array([0, 0, 0, 0, 0.01, 0.02, 0.9, 0])
    order = order_rows(entries, expected)
    curve = make_rows_curve(order, 2.0, expected)
    assert [len(closed) for closed in curve.closed] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(curve.nats, 2 * order.tokens)
    assert curve.left is not None
    np.testing.assert_allclose(curve.left[0], 1.0)
    assert (np.diff(curve.left) <= 0).all()
