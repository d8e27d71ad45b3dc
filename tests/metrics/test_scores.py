"""Metrics of probabilities agree with scikit-learn and with counts by hand."""

import numpy as np
import pytest

from slimjax.metrics import scores
from slimjax.metrics.bootstrap import Resamples
from slimjax.metrics.classes import (
    macro,
    matthews,
    micro,
    score_answers,
    score_classes,
    weighted_f1,
)
from slimjax.metrics.reported import ANSWERS, CLASSES

METRICS = {metric.key: metric.of for metric in CLASSES}


def make_rows(num=60, num_classes=3, seed=0, digits=1):
    """Returns columns with many equal scores."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=num)
    logits = rng.normal(size=(num, num_classes)).round(digits)
    logits[np.arange(num), labels] += 0.7
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return {"label": labels, "scores": chances, "prediction": chances.argmax(-1)}


def test_the_area_is_the_part_of_pairs_in_the_right_order():
    rows = make_rows(40, 2)
    score, positive = rows["scores"][:, 1].round(1), rows["label"] == 1
    pairs = [
        (a > b) + 0.5 * (a == b) for a in score[positive] for b in score[~positive]
    ]
    assert len(set(score)) < 12
    assert float(scores.roc_auc(score, positive)) == pytest.approx(
        np.mean(pairs), 1e-12
    )


def test_average_precision_is_the_sum_over_thresholds():
    rows = make_rows(40, 2)
    score, positive = rows["scores"][:, 1].round(1), rows["label"] == 1
    area, recall = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        taken = score >= threshold
        found = (taken & positive).sum()
        area += (found / positive.sum() - recall) * found / taken.sum()
        recall = found / positive.sum()
    found = scores.average_precision(score, positive)
    assert float(found) == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("num_classes", [2, 3, 4])
def test_all_metrics_are_those_of_scikit_learn(num_classes):
    learn = pytest.importorskip("sklearn.metrics")
    rows = make_rows(90, num_classes, seed=num_classes)
    labels, predictions, chances = (rows[n] for n in ("label", "prediction", "scores"))
    is_right_class = np.eye(num_classes)[labels]
    binary = num_classes == 2
    areas = is_right_class[:, 1:], chances[:, 1:]
    areas = areas if binary else (is_right_class, chances)
    own = {"average": "macro", "zero_division": 0}
    expected = {
        "accuracy": learn.accuracy_score(labels, predictions),
        "macro_f1": learn.f1_score(labels, predictions, **own),
        "macro_precision": learn.precision_score(labels, predictions, **own),
        "macro_recall": learn.recall_score(labels, predictions, **own),
        "weighted_f1": learn.f1_score(labels, predictions, average="weighted"),
        "matthews": learn.matthews_corrcoef(labels, predictions),
        "roc_auc": learn.roc_auc_score(*areas, average="macro"),
        "average_precision": learn.average_precision_score(*areas, average="macro"),
    }
    found = {name: float(METRICS[name](rows)) for name in expected}
    assert found == pytest.approx(expected, abs=1e-9)
    assert set(METRICS) - set(expected) == {"ece"}


def test_answers_of_several_classes_are_those_of_scikit_learn():
    learn = pytest.importorskip("sklearn.metrics")
    labels, chances = many_rows()
    predictions = chances > 0.5
    rows = {"labels": labels, "predictions": predictions, "scores": chances}
    found = {metric.key: float(metric.of(rows)) for metric in ANSWERS}
    own = {"average": "micro", "zero_division": 0}
    assert found == pytest.approx(
        {
            "micro_f1": learn.f1_score(labels, predictions, **own),
            "micro_precision": learn.precision_score(labels, predictions, **own),
            "micro_recall": learn.recall_score(labels, predictions, **own),
            "macro_f1": learn.f1_score(labels, predictions, average="macro"),
            "exact_match": learn.accuracy_score(labels, predictions),
            "roc_auc": learn.roc_auc_score(labels, chances, average="macro"),
            "average_precision": learn.average_precision_score(labels, chances),
            "ece": calibration_by_hand(
                np.maximum(chances, 1 - chances), labels == predictions
            ),
        },
        abs=1e-9,
    )


def many_rows(num=50):
    """Returns labels of several classes, and probabilities of which many are equal."""
    rng = np.random.default_rng(0)
    labels = rng.random((num, 4)) > 0.6
    return labels, (0.25 + 0.3 * labels + 0.3 * rng.random((num, 4))).round(2)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "ece"])
def test_a_resample_of_several_classes_is_scored_as_a_sample_of_its_own(name):
    labels, chances = many_rows(30)
    rows = {"labels": labels, "predictions": chances > 0.5, "scores": chances}
    of = next(metric.of for metric in ANSWERS if metric.key == name)
    drawn = np.random.default_rng(1).integers(30, size=(5, 30))
    found = of(Resamples(rows, drawn))
    one_by_one = [of({k: v[i] for k, v in rows.items()}) for i in drawn]
    np.testing.assert_allclose(found, one_by_one, atol=1e-12)


def test_calibration_is_a_count_by_hand():
    rows = make_rows(80, 3)
    sure, right = rows["scores"].max(-1), rows["label"] == rows["prediction"]
    error = calibration_by_hand(sure, right)
    assert float(METRICS["ece"](rows)) == pytest.approx(error, abs=1e-12)


def calibration_by_hand(sure, right):
    error = 0.0
    for place in range(scores.NUM_BINS):
        low, high = place / scores.NUM_BINS, (place + 1) / scores.NUM_BINS
        inside = (sure > low) & (sure <= high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    return error


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_resample_is_scored_as_a_sample_of_its_own(name, num_classes):
    rows = make_rows(30, num_classes)
    drawn = np.random.default_rng(1).integers(30, size=(5, 30))
    found = METRICS[name](Resamples(rows, drawn))
    one_by_one = [METRICS[name]({k: v[i] for k, v in rows.items()}) for i in drawn]
    np.testing.assert_allclose(found, one_by_one, atol=1e-12)


def test_the_curve_goes_through_the_points_of_scikit_learn():
    learn = pytest.importorskip("sklearn.metrics")
    rows = make_rows(70, 2)
    score, positive = rows["scores"][:, 1], rows["label"] == 1
    curve = scores.roc_curve(score, positive)
    x, y, _ = learn.roc_curve(positive, score, drop_intermediate=False)
    assert set(zip(*curve, strict=True)) < set(zip(x, y, strict=True))
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(
        float(scores.roc_auc(score, positive))
    )
    assert (
        len(scores.roc_curve(np.random.rand(9000), np.arange(9000) % 2 == 0).x) <= 400
    )


def test_one_class_alone_has_no_curve():
    ones = np.ones(4, bool)
    assert np.isnan(scores.roc_auc(np.arange(4.0), ones))
    assert np.isnan(scores.average_precision(np.arange(4.0), ~ones))
    assert not len(scores.roc_curve(np.arange(4.0), ones).x)
    assert np.isnan(scores.roc_auc(np.zeros(0), np.zeros(0, bool)))


def test_one_class_per_example_makes_micro_scores_the_accuracy():
    rows = make_rows()
    found = score_classes(rows["label"], rows["prediction"], 3)
    expected = float(METRICS["accuracy"](rows))
    assert float(micro(found).f1) == pytest.approx(expected)
    answers = score_answers(
        np.eye(3, dtype=bool)[rows["label"]], np.eye(3, dtype=bool)[rows["prediction"]]
    )
    np.testing.assert_array_equal(answers.f1, found.f1)
    assert float(macro(answers).f1) == float(METRICS["macro_f1"](rows))
    assert float(weighted_f1(answers)) == float(METRICS["weighted_f1"](rows))
    assert float(matthews(found)) == float(METRICS["matthews"](rows))


def test_a_class_that_no_example_has_counts_among_several():
    learn = pytest.importorskip("sklearn.metrics")
    labels, chances = many_rows()
    labels[:, 2], predictions = False, chances > 0.5
    predictions[:, 2] = False
    rows = {"labels": labels, "predictions": predictions, "scores": chances}
    found = {metric.key: metric.of for metric in ANSWERS}["macro_f1"]
    own = {"average": "macro", "zero_division": 0}
    assert float(found(rows)) == pytest.approx(
        learn.f1_score(labels, predictions, **own)
    )
