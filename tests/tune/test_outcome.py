"""What a sweep takes from the reports of its runs."""

import json

import pytest

from slimjax.config import override, read_config
from slimjax.tune.arms import make_arms
from slimjax.tune.outcome import describe_arm

ACCURACY = {"key": "accuracy", "words": "accuracy", "better": "high"}


@pytest.fixture
def arm(text_folder):
    changes = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
    (arm,) = make_arms(override(read_config("tiny_test"), changes), [])
    return arm


def write(root, name: str, report: dict) -> None:
    (root / name).mkdir()
    (root / name / "report.json").write_text(json.dumps(report))


def test_metrics_of_a_task_are_summed_up_by_their_key(arm, tmp_path):
    for seed, value in enumerate((0.5, 0.75)):
        metric = ACCURACY | {"valid": value, "test": None}
        report = {"metrics": [metric], "train": {"steps": 24}}
        write(tmp_path, arm.trial(seed).name, report)
    found = describe_arm(
        arm, [arm.trial(s) for s in range(3)], tmp_path, {arm.trial(2).name: "no room"}
    )
    assert found["metrics"] == [ACCURACY]
    assert found["means"]["valid_accuracy"]["mean"] == 0.625
    assert found["means"]["test_accuracy"] is None
    assert found["means"]["steps"]["num"] == 2
    states = [trial["state"] for trial in found["trials"]]
    assert states == ["finished", "finished", "failed"]
    assert found["trials"][2]["reason"] == "no room"
    assert found["trials"][0]["valid_accuracy"] == 0.5


def test_a_metric_of_nothing_right_counts(arm, tmp_path):
    for seed, value in enumerate((0.0, 0.5, 1.0)):
        report = {"metrics": [ACCURACY | {"valid": value, "test": 0.0}]}
        write(tmp_path, arm.trial(seed).name, report)
    found = describe_arm(arm, [arm.trial(s) for s in range(3)], tmp_path, {})
    assert found["means"]["valid_accuracy"]["mean"] == 0.5
    assert found["means"]["test_accuracy"]["mean"] == 0.0
    assert found["means"]["test_accuracy"]["num"] == 3


def test_reports_of_an_older_version_have_no_metrics(arm, tmp_path):
    report = {"error": {"test_bits_per_byte": 2.5}}
    write(tmp_path, arm.trial(0).name, report)
    found = describe_arm(arm, [arm.trial(0)], tmp_path, {})
    assert found["metrics"] == []
    assert found["means"]["test_bits_per_byte"]["mean"] == 2.5
