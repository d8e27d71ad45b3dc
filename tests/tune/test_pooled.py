"""Errors over folds: variances against resampling, and paired against unpaired."""

import numpy as np
import pytest

from slimjax.tune.pooled import pool


def draw(seed, num=400, folds=4):
    """Returns nats of two points that share how hard documents are, and targets."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(5, 50, num)
    hardness = rng.normal(2.0, 0.5, num)
    own = rng.normal(0.0, 0.05, (num, 2))
    nats = (hardness[:, None] + own + np.array([0.0, 0.1])) * targets[:, None]
    return nats, targets, rng.integers(0, folds, num)


def test_the_error_is_that_of_all_documents_together():
    nats, targets, folds = draw(0)
    found = pool(nats, targets, folds)
    np.testing.assert_allclose(found.values, nats.sum(0) / targets.sum())


def test_a_standard_error_is_that_of_resampled_documents():
    nats, targets, _ = draw(1)
    found = pool(nats, targets, np.zeros(len(targets), int))
    rng = np.random.default_rng(2)
    drawn = rng.integers(0, len(targets), (4000, len(targets)))
    means = nats[drawn].sum(1) / targets[drawn].sum(1)[:, None]
    # 4,000 resamples know a deviation to about 1 %; ratios add a little bias.
    assert found.standard_error(0) == pytest.approx(means[:, 0].std(), rel=0.06)
    differences = (means[:, 1] - means[:, 0]).std()
    assert found.standard_error(1, 0) == pytest.approx(differences, rel=0.06)


def test_what_documents_share_cancels_in_a_difference():
    found = pool(*draw(3))
    assert found.standard_error(0, 1) < 0.3 * found.standard_error(0)
    assert found.standard_error(1, 1) == 0.0


def test_a_shift_of_whole_folds_is_seen_though_documents_are_many():
    nats, targets, folds = draw(4, num=4000, folds=3)
    steady = pool(nats, targets, folds)
    shift = np.array([-0.05, 0.0, 0.05])[folds]
    nats[:, 1] += shift * targets
    found = pool(nats, targets, folds)
    assert found.standard_error(0, 1) > 5 * steady.standard_error(0, 1)
    # Three folds: Student's quantile of two degrees of freedom is 4.30.
    ratio = found.half_width(0, 1) / found.standard_error(0, 1)
    assert ratio == pytest.approx(4.303, abs=0.1)  # Documents add a little.


def test_folds_that_vary_no_more_than_their_documents_add_nothing():
    targets, folds = np.full(300, 10), np.arange(300) % 3
    hardness = np.repeat(np.random.default_rng(0).normal(20.0, 3.0, 100), 3)
    found = pool(np.stack([hardness, hardness], axis=1), targets, folds)
    ratio = found.half_width(0) / found.standard_error(0)
    assert ratio == pytest.approx(1.968, abs=1e-3)  # Student's, 299 degrees.


def test_intervals_hold_the_truth_as_often_as_they_say():
    inside = 0
    for seed in range(200):
        found = pool(*draw(seed, num=100, folds=3))
        difference = found.values[1] - found.values[0]
        inside += abs(difference - 0.1) <= found.half_width(0, 1)
    assert inside >= 190  # 95 % of 200; the larger variance makes them safe.


def test_one_document_has_no_standard_error():
    found = pool(np.ones((1, 2)), np.array([2]), np.array([0]))
    assert found.standard_error(0) is None
    assert found.half_width(0, 1) is None
