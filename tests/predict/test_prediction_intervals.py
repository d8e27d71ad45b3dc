"""Metrics and intervals of a run follow from its prediction file, by plain NumPy."""

import json
from typing import NamedTuple

import numpy as np
import pytest
from reviews import make_reviews, write_lines

from slimjax.cli.main import main
from slimjax.report import read_run
from slimjax.report.answers import read_answers

NUM_RESAMPLES, NUM_BINS = 1_000, 15


class Sample(NamedTuple):
    """What a prediction file holds."""

    label: np.ndarray
    prediction: np.ndarray
    scores: np.ndarray
    loss: np.ndarray


def read_sample(path) -> Sample:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    names = list(lines[0]["scores"])
    return Sample(
        np.array([names.index(line["expected"]["label"]) for line in lines]),
        np.array([names.index(line["prediction"]) for line in lines]),
        np.array([[line["scores"][name] for name in names] for line in lines]),
        np.array([line["loss"] for line in lines]),
    )


@pytest.fixture(scope="module")
def found(workdir, tmp_path_factory):
    """Returns the file and the metrics of data of which a fifth is labelled wrong."""
    lines = make_reviews(80, seed=3)
    for line in lines[::5]:
        line["stars"] = "bad" if line["stars"] == "good" else "good"
    source = write_lines(tmp_path_factory.mktemp("data") / "more.jsonl", lines)
    assert main(["evaluate", f"--workdir={workdir}", f"--data=jsonl:{source}"]) == 0
    sample = read_sample(workdir / "predictions-data.jsonl")
    reported = json.loads((workdir / "metrics-data.json").read_text())
    assert 0.6 < reported["accuracy"] < 0.9
    return sample, reported


def class_scores(labels, predictions):
    """Returns precision, recall, F1 and labels of each class that occurs."""
    rows = []
    for c in sorted({*labels, *predictions}):
        right = np.sum((labels == c) & (predictions == c))
        said, true = np.sum(predictions == c), np.sum(labels == c)
        precision, recall = right / max(said, 1), right / max(true, 1)
        rows.append((precision, recall, 2 * right / (said + true), true))
    return np.array(rows)


def area(labels, scores):
    positive, negative = scores[labels == 1, 1], scores[labels == 0, 1]
    gaps = positive[:, None] - negative[None]
    return np.mean((gaps > 0) + 0.5 * (gaps == 0)) if gaps.size else np.nan


def average_precision(labels, scores):
    value, before, score = 0.0, 0.0, scores[:, 1]
    for threshold in np.unique(score)[::-1]:
        taken = score >= threshold
        recall = np.sum(labels[taken]) / np.sum(labels)
        value += (recall - before) * np.mean(labels[taken])
        before = recall
    return value


def calibration_error(labels, predictions, scores):
    sure, right = scores.max(-1), labels == predictions
    bins = np.clip(np.ceil(sure * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    gaps = [abs(np.sum(sure[bins == b]) - np.sum(right[bins == b])) for b in set(bins)]
    return sum(gaps) / len(labels)


def correlation(labels, predictions):
    if len(set(labels)) == 1 or len(set(predictions)) == 1:
        return 0.0
    return np.corrcoef(labels, predictions)[0, 1]  # Of two classes.


def classes(x: Sample):
    return class_scores(x.label, x.prediction)


BY_HAND = {
    "accuracy": lambda x: np.mean(x.label == x.prediction),
    "macro_precision": lambda x: classes(x)[:, 0].mean(),
    "macro_recall": lambda x: classes(x)[:, 1].mean(),
    "macro_f1": lambda x: classes(x)[:, 2].mean(),
    "weighted_f1": lambda x: np.average(classes(x)[:, 2], weights=classes(x)[:, 3]),
    "roc_auc": lambda x: area(x.label, x.scores),
    "average_precision": lambda x: average_precision(x.label, x.scores),
    "matthews": lambda x: correlation(x.label, x.prediction),
    "ece": lambda x: calibration_error(*x[:3]),
    "nats_per_example": lambda x: np.mean(x.loss),
}


@pytest.mark.parametrize("key", BY_HAND)
def test_a_metric_and_its_interval_are_those_of_the_file(key, found):
    sample, reported = found
    of, num = BY_HAND[key], len(sample.label)
    assert reported[key] == pytest.approx(of(sample), abs=1e-9)
    drawn = np.random.default_rng(0).integers(num, size=(NUM_RESAMPLES, num))
    values = [of(Sample(*(column[rows] for column in sample))) for rows in drawn]
    ends = np.nanquantile(values, (0.025, 0.975))
    np.testing.assert_allclose(reported["intervals"][key], ends, atol=1e-9)


def test_no_metric_of_the_task_is_left_unchecked(found):
    assert set(found[1]["intervals"]) == set(BY_HAND)


def test_scores_of_classes_are_those_of_the_file(found):
    sample, reported = found
    names = [own["class"] for own in reported["classes"]]
    scores = class_scores(sample.label, sample.prediction)
    for place, own in enumerate(reported["classes"]):
        values = [own[n] for n in ("precision", "recall", "f1", "num_labels")]
        np.testing.assert_allclose(values, scores[place], atol=1e-12)
    counts = [
        [np.sum((sample.label == i) & (sample.prediction == k)) for k in range(2)]
        for i in range(2)
    ]
    assert names == ["bad", "good"]
    assert reported["confusion"] == np.array(counts).tolist()


def test_scores_of_classes_have_their_intervals(found):
    sample, reported = found
    num = len(sample.label)
    drawn = np.random.default_rng(0).integers(num, size=(NUM_RESAMPLES, num))
    values = [classes(Sample(*(column[rows] for column in sample))) for rows in drawn]
    ends = np.quantile([own[:, :3] for own in values], (0.025, 0.975), axis=0)
    for place, own in enumerate(reported["classes"]):
        for score, name in enumerate(("precision", "recall", "f1")):
            expected = ends[:, place, score]
            np.testing.assert_allclose(own["intervals"][name], expected, atol=1e-9)


def test_the_page_has_the_numbers_of_the_evaluation(workdir):
    reported = json.loads((workdir / "metrics-test.json").read_text())
    answers = read_answers(read_run(workdir))
    for metric in answers.metrics:
        expected = [reported[metric.key], *reported["intervals"][metric.key]]
        found = answers.estimates[metric.key]
        np.testing.assert_allclose(found, expected, atol=1e-9)
