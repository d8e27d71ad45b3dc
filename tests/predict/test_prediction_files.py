"""`slimjax evaluate` writes what was predicted: metrics follow from the file."""

import json
import shutil

import numpy as np
import pytest
from reviews import make_reviews, write_lines

from slimjax.cli.main import main
from slimjax.data.dataset import Dataset, Field
from slimjax.run.measure import by_example, choose_rows


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def calibration_error(lines, num_bins=15):
    """Returns the mean gap of confidence and accuracy over equal bins of confidence."""
    confidence = np.array([max(line["scores"].values()) for line in lines])
    right = np.array(
        [line["prediction"] == line["expected"]["label"] for line in lines]
    )
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    gaps = [
        abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in set(bins)
    ]
    return sum(gaps) / len(lines)


@pytest.fixture(scope="module")
def evaluated(workdir):
    """Returns the lines and the metrics of the test split."""
    assert main(["evaluate", f"--workdir={workdir}"]) == 0
    metrics = json.loads((workdir / "metrics-test.json").read_text())
    return read_lines(workdir / "predictions-test.jsonl"), metrics


def test_metrics_follow_from_the_file(evaluated):
    lines, metrics = evaluated
    assert len(lines) == metrics["num_examples"] > 20
    right = [line["prediction"] == line["stars"] for line in lines]
    assert metrics["accuracy"] == pytest.approx(np.mean(right), abs=1e-9)
    assert metrics["ece"] == pytest.approx(calibration_error(lines), abs=1e-9)
    loss = np.mean([line["loss"] for line in lines])
    assert metrics["nats_per_target"] == pytest.approx(loss, abs=1e-9)
    nats = [-np.log(line["scores"][line["stars"]]) for line in lines]
    assert loss == pytest.approx(np.mean(nats), abs=1e-5)  # Scores are float32.


def test_lines_have_own_fields_and_what_is_right(evaluated):
    lines, _ = evaluated
    own = {line["id"]: line for line in make_reviews(200)}
    for line in lines:
        example = own[line["id"]]
        assert line["review"] == example["review"]
        assert line["stars"] == example["stars"] == line["expected"]["label"]
        assert list(line["expected"]) == ["label"]


def test_the_report_and_the_file_agree(workdir, evaluated):
    report = json.loads((workdir / "report.json").read_text())
    assert report["error"]["test_accuracy"] == evaluated[1]["accuracy"]


def test_predict_and_evaluate_answer_alike(evaluated, opened, workdir):
    lines, _ = evaluated
    found = opened(workdir, batch_size=4, weights="").predict(
        [{"review": line["review"]} for line in lines]
    )
    assert [x["prediction"] for x in found] == [x["prediction"] for x in lines]
    for a, b in zip(found, lines, strict=True):
        assert a["scores"] == pytest.approx(b["scores"], abs=1e-5)


def test_other_data_have_files_of_their_own(workdir, tmp_path):
    source = write_lines(tmp_path / "more.jsonl", make_reviews(30, seed=5))
    assert main(["evaluate", f"--workdir={workdir}", f"--data=jsonl:{source}"]) == 0
    lines = read_lines(workdir / "predictions-data.jsonl")
    assert [line["id"] for line in lines] == list(range(30))
    right = [line["prediction"] == line["stars"] for line in lines]
    metrics = json.loads((workdir / "metrics-data.json").read_text())
    assert metrics["accuracy"] == pytest.approx(np.mean(right), abs=1e-9)


def test_the_test_split_of_other_data_is_theirs(workdir, tmp_path):
    config = json.loads((workdir / "config.json").read_text())
    own = write_lines(tmp_path / "own.jsonl", make_reviews(20, seed=6))
    config["data"] |= {"test_source": f"jsonl:{own}", "test_fraction": 0.4}
    folder = shutil.copytree(workdir, tmp_path / "run")
    (folder / "config.json").write_text(json.dumps(config))
    source = write_lines(tmp_path / "more.jsonl", make_reviews(30, seed=5))
    flags = [f"--workdir={folder}", f"--data=jsonl:{source}", "--split=test"]
    assert main(["evaluate", *flags]) == 0
    texts = {json.loads(line)["review"] for line in source.read_text().splitlines()}
    lines = read_lines(folder / "predictions-data.jsonl")
    assert 4 < len(lines) < 25
    assert {line["review"] for line in lines} <= texts


def test_whole_examples_are_measured():
    owners = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4, 5])
    data = Dataset(
        splits={"valid": {"x": np.arange(10)}},
        fields={"x": Field((), "int32", ())},
        sizes={},
        lengths={},
        special={},
        counts={},
        row_counts={"valid": {"example": owners}},
        fingerprint="",
        source="",
        codecs={},
    )
    rows = choose_rows(data, "valid", 5, seed=0)
    chosen = set(owners[rows])
    assert 0 < len(rows) < 10
    assert rows.tolist() == [i for i in range(10) if owners[i] in chosen]
    nats = np.arange(10.0)
    columns = by_example(data, "valid", rows, {"nats": nats[rows], "example": owners})
    expected = [nats[owners == i].sum() for i in sorted(chosen)]
    assert columns["nats"].tolist() == expected
    assert set(columns) == {"nats"}
