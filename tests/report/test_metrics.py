"""Runs are described and ranked by the headline metric that their folders name."""

import dataclasses

import numpy as np
import pytest
from test_figures import draw, texts

from slimjax import report
from slimjax.report.metrics import compare, list_metrics
from slimjax.report.page import write_report

BITS = {"key": "bits_per_byte", "words": "bits per byte", "better": "low"}


def classify(accuracy: float, f1: float, **ends: float) -> dict:
    """Returns the blocks of a classifier's report."""
    first = {"key": "accuracy", "words": "accuracy", "better": "high"}
    second = {"key": "macro_f1", "words": "macro F1", "better": "high"}
    values = {"valid": accuracy - 0.01, "test": accuracy} | ends
    metrics = [first | values, second | {"valid": f1, "test": f1}]
    error = {"valid_nats_per_target": 0.5, "valid_accuracy": accuracy - 0.01}
    return {"metrics": metrics, "error": error}


@pytest.fixture(autouse=True)
def _coarse_figures(monkeypatch):
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)


@pytest.fixture
def classifiers(make_run):
    """Returns two runs: the second one is better, in the sense of its metric."""
    names = {"worse": classify(0.70, 0.60), "better": classify(0.80, 0.75)}
    return [report.read_run(make_run(n, **blocks)) for n, blocks in names.items()]


def test_old_folders_are_read_in_bits_per_byte(make_run):
    run = report.read_run(make_run())
    (metric,) = list_metrics(run)
    assert metric[:5] == ("bits_per_byte", "bits per byte", "low", 1.4129, 1.4307)


def test_metrics_of_a_folder_are_listed_in_its_order(make_run):
    blocks = classify(0.8, 0.75, test_low=0.78, test_high=0.82)
    run = report.read_run(make_run(**blocks))
    assert [m.key for m in list_metrics(run)] == ["accuracy", "macro_f1"]
    rows = {row.label: row.end for row in report.make_table(run)}
    assert rows["accuracy, test"] == "0.800 ± 0.020"
    assert rows["accuracy, validation"] == "0.790"
    assert rows["macro F1, test"] == "0.750"
    assert rows["nats per target, validation"] == "0.500"
    assert not any("bits per byte" in label for label in rows)
    assert report.summarize(run).endswith("accuracy 0.800 on test data.")


@pytest.mark.parametrize("damaged", [7, [], [3], [{"words": "x"}], {"key": "x"}])
def test_a_list_of_metrics_that_says_nothing_counts_as_none(make_run, damaged):
    run = report.read_run(make_run(metrics=damaged))
    assert [metric.key for metric in list_metrics(run)] == ["bits_per_byte"]


def test_a_running_run_has_the_metrics_of_its_log(make_run):
    folder = make_run(finished=False)
    line = (
        '{"step": %d, "loss": 0.6, "valid_nats_per_target": 0.5, "valid_accuracy": 0.7}'
    )
    (folder / "metrics.jsonl").write_text("".join(line % i + "\n" for i in range(3)))
    run = report.read_run(folder)
    assert list_metrics(run)[0][:4] == ("accuracy", "accuracy", "high", 0.7)
    assert "accuracy 0.700 on validation data" in report.summarize(run)
    shown = texts(report.plot_run(run))
    assert {"accuracy", "loss, nats per target"} <= set(shown)
    draw(report.plot_run(run))


def test_the_best_run_is_the_highest_where_high_is_better(classifiers, tmp_path):
    write_report(classifiers, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "the highest accuracy is 0.800 on test data (better)" in text
    assert "upper left is better" in text
    assert "lowest" not in text
    figure = report.plot_frontier(classifiers)
    assert "accuracy, test data" in texts(figure)
    (line,) = (line for line in figure.axes[0].lines if line.get_marker() == "None")
    assert np.asarray(line.get_ydata()).tolist() == [0.8]  # Both have one size.


def test_runs_with_other_data_are_not_ranked(make_run, tmp_path):
    other = {"source": "text:b.txt", "fingerprint": "another"}
    folders = [make_run("one"), make_run("two", data=other)]
    runs = [report.read_run(folder) for folder in folders]
    write_report(runs, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "learned from different data" in text
    assert "lowest error" not in text
    figure = report.plot_frontier(runs)
    assert {str(line.get_marker()) for line in figure.axes[0].lines} == {"o"}
    assert not compare([runs[0], runs[0]]).obstacle


def test_a_running_run_is_compared_by_its_source(make_run):
    runs = [report.read_run(make_run(name, finished=False)) for name in "ab"]
    assert not compare(runs).obstacle
    config = runs[1].config | {"data": {"source": "text:b.txt"}}
    runs[1] = dataclasses.replace(runs[1], config=config)
    assert "different data" in compare(runs).obstacle


def test_runs_of_other_metrics_are_not_ranked(classifiers, make_run, tmp_path):
    runs = [classifiers[0], report.read_run(make_run("text"))]
    assert compare(runs).obstacle == (
        "The runs have different metrics (accuracy and bits per byte)."
    )
    write_report(runs, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "So they are not ranked." in text
    assert "<td>accuracy, test</td><td>0.700</td><td>-</td>" in text
