"""Two models on the same examples: differences and their tests."""

import numpy as np
import pytest
from scipy import stats

from slimjax.metrics.bootstrap import Resamples
from slimjax.metrics.paired import compare_metric, mcnemar
from slimjax.metrics.reported import CLASSES

ACCURACY = CLASSES[0].of


def make_models(num=400, gain=0.05, seed=0):
    """Returns columns of two models that are right on mostly the same examples."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=num)
    first = np.where(rng.random(num) < 0.8, labels, 1 - labels)
    helped = (rng.random(num) < gain) & (first != labels) | (rng.random(num) < gain)
    second = np.where(helped, labels, first)
    return [{"label": labels, "prediction": p} for p in (first, second)]


def test_the_interval_is_that_of_a_loop_over_pairs():
    first, second = make_models(50)
    found = compare_metric(ACCURACY, first, second, num_resamples=80, seed=4)
    drawn = np.random.default_rng(4).integers(50, size=(80, 50))
    right = [m["label"] == m["prediction"] for m in (first, second)]
    slow = [right[1][i].mean() - right[0][i].mean() for i in drawn]
    assert found.value == pytest.approx(right[1].mean() - right[0].mean())
    np.testing.assert_allclose(
        (found.low, found.high), np.quantile(slow, (0.025, 0.975))
    )


def test_pairs_tell_apart_what_two_intervals_do_not():
    first, second = make_models()
    found = compare_metric(ACCURACY, first, second)
    assert found.low > 0
    assert found.p < 0.05
    drawn = np.random.default_rng(0).integers(400, size=(500, 400))
    ends = [
        np.quantile(ACCURACY(Resamples(m, drawn)), (0.025, 0.975))
        for m in (first, second)
    ]
    assert ends[1][0] < ends[0][1]  # They overlap.


def test_equal_models_do_not_differ():
    first, _ = make_models()
    found = compare_metric(ACCURACY, first, first)
    assert found == (0.0, 0.0, 0.0, 1.0)


def test_a_difference_that_is_never_known_has_no_probability():
    labels = np.zeros(20, int)
    models = [{"label": labels, "prediction": labels} for _ in range(2)]
    nothing = lambda columns: np.full(len(np.atleast_2d(columns["label"])), np.nan)
    found = compare_metric(lambda c: nothing(c).squeeze(), *models)
    assert np.isnan([found.value, found.low, found.high, found.p]).all()


def test_resamples_without_a_value_do_not_count():
    first, second = make_models(40)
    better = [ACCURACY(columns) for columns in (first, second)]
    assert better[1] > better[0]

    def sometimes(columns):
        found = np.asarray(ACCURACY(columns), float)
        return np.where(np.arange(found.size).reshape(found.shape) % 2, np.nan, found)

    half = compare_metric(sometimes, first, second)
    assert (
        0 < half.p == pytest.approx(compare_metric(ACCURACY, first, second).p, abs=0.03)
    )


def test_other_examples_are_refused():
    first, second = make_models()
    second = {name: column[:-1] for name, column in second.items()}
    with pytest.raises(ValueError, match="one length"):
        compare_metric(ACCURACY, first, second)


@pytest.mark.parametrize("seed", range(3))
def test_mcnemar_is_the_binomial_test(seed):
    first, second = (m["label"] == m["prediction"] for m in make_models(80, 0.1, seed))
    found = mcnemar(first, second)
    counts = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    assert found[:2] == counts
    assert found.p == pytest.approx(stats.binomtest(counts[0], sum(counts)).pvalue)
    assert mcnemar(first, first).p == 1.0
