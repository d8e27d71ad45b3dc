"""Metrics of labels agree with slow, obvious references, one example at a time."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimjax.metrics.bootstrap import bootstrap
from slimjax.metrics.classes import (
    accuracy,
    confusion_matrix,
    macro,
    score_classes,
)

NUM_CLASSES = 4
macro_f1 = lambda *given: macro(score_classes(*given)).f1
PAIRS = st.lists(
    st.tuples(st.integers(0, NUM_CLASSES - 1), st.integers(0, NUM_CLASSES - 1)),
    min_size=1,
    max_size=30,
)


def slow_scores(labels, predictions, label):
    """Returns precision, recall and F1 of one class, by counting in Python."""
    pairs = list(zip(labels, predictions, strict=True))
    right = sum(a == b == label for a, b in pairs)
    said, true = predictions.count(label), labels.count(label)
    precision, recall = right / said if said else 0, right / true if true else 0
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0


@given(PAIRS)
@settings(max_examples=60, deadline=None)
def test_scores_are_those_of_a_count_by_hand(pairs):
    labels, predictions = ([int(pair[i]) for pair in pairs] for i in (0, 1))
    arrays = np.array(labels), np.array(predictions)
    matrix = confusion_matrix(*arrays, NUM_CLASSES)
    for row in range(NUM_CLASSES):
        for column in range(NUM_CLASSES):
            assert matrix[row, column] == pairs.count((row, column))
    scores = score_classes(*arrays, NUM_CLASSES)
    slow = [slow_scores(labels, predictions, c) for c in range(NUM_CLASSES)]
    np.testing.assert_allclose(np.transpose(scores[:3]), slow)
    known = set(labels) | set(predictions)
    expected = np.mean([slow[c][2] for c in known])
    np.testing.assert_allclose(macro_f1(*arrays, NUM_CLASSES), expected)
    right = sum(a == b for a, b in pairs) / len(pairs)
    np.testing.assert_allclose(accuracy(*arrays), right)


def test_leading_axes_are_scored_one_by_one():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 3, (2, 5, 2, 7))
    matrices = confusion_matrix(labels, predictions, 3)
    assert matrices.shape == (5, 2, 3, 3)
    for i in np.ndindex(5, 2):
        pair = labels[i], predictions[i]
        np.testing.assert_array_equal(matrices[i], confusion_matrix(*pair, 3))
        assert macro_f1(labels, predictions, 3)[i] == macro_f1(*pair, 3)
        assert accuracy(labels, predictions)[i] == accuracy(*pair)


def test_they_agree_with_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    labels, predictions = np.random.default_rng(1).integers(0, 5, (2, 200))
    expected = sklearn.f1_score(labels, predictions, average="macro")
    np.testing.assert_allclose(macro_f1(labels, predictions, 9), expected)
    expected = sklearn.confusion_matrix(labels, predictions)
    np.testing.assert_array_equal(confusion_matrix(labels, predictions, 5), expected)


def test_the_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(2).normal(3.0, 2.0, size=400)
    found = bootstrap(lambda x: x.mean(-1), values, num_resamples=20_000)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(half, rel=0.05)
    assert found.value - found.low == pytest.approx(half, rel=0.05)


def test_the_interval_of_macro_f1_is_that_of_a_loop(monkeypatch):
    labels, predictions = np.random.default_rng(3).integers(0, 3, (2, 50))
    statistic = lambda a, b: macro_f1(a, b, 3)
    found = bootstrap(statistic, labels, predictions, num_resamples=100, seed=5)
    drawn = np.random.default_rng(5).integers(50, size=(100, 50))
    slow = [float(macro_f1(labels[i], predictions[i], 3)) for i in drawn]
    expected = np.quantile(slow, (0.025, 0.975))
    np.testing.assert_allclose((found.low, found.high), expected)
    monkeypatch.setattr("slimjax.metrics.bootstrap.MAX_DRAWN", 128)  # In many calls.
    again = bootstrap(statistic, labels, predictions, num_resamples=100, seed=5)
    assert again == found


def test_a_ratio_of_sums_is_a_statistic_too():
    nats, num_bytes = np.random.default_rng(4).uniform(1, 2, (2, 60))
    ratio = lambda a, b: a.sum(-1) / b.sum(-1)
    found = bootstrap(ratio, nats, num_bytes)
    assert found.value == pytest.approx(nats.sum() / num_bytes.sum())
    assert found.low < found.value < found.high


def test_no_examples_give_no_number():
    empty = np.zeros(0, int)
    assert np.isnan(accuracy(empty, empty))
    assert np.isnan(macro_f1(empty, empty, 3))
    assert np.isnan(bootstrap(lambda x: x.mean(-1), empty)).all()


@pytest.mark.wrong_types
def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        accuracy(np.zeros(2, int), np.zeros(3, int))
    with pytest.raises(ValueError, match="predictions are 0 to 3, expected 0 to 2"):
        confusion_matrix(np.array([0, 1]), np.array([0, 3]), 3)
    with pytest.raises(ValueError, match="labels are -1 to 0"):
        macro_f1(np.array([-1, 0]), np.array([0, 0]), 3)
    with pytest.raises(ValueError, match="one length"):
        bootstrap(np.mean, np.zeros(2), np.zeros(3))


def test_it_needs_numpy_alone():
    others = (
        "jax",
        "scipy",
        "sklearn",
        "sacrebleu",
        "rouge_score",
        "nltk",
        "nervaluate",
    )
    code = (
        "import sys; import slimjax, slimjax.metrics.reported, slimjax.metrics.paired; "
        f"sys.exit(any(m in sys.modules for m in {others}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
