"""A real tune of a tiny model: from the command line to the model that it chooses."""

import contextlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from slimjax.cli.main import main

pytestmark = pytest.mark.slow
KILLS = 4


def arguments(root, text_folder, *more: str) -> list[str]:
    return [
        "tune",
        "--config=configs/tiny_test.py",
        f"--config.data.source=text:{text_folder}/*.txt",
        "--config.mesh.data=1",
        "--config.model.num_layers=1",
        "--config.train.num_steps=60",
        "--config.objective.size=bytes",
        "--config.quantize.bits=[16,8,4]",
        f"--workdir={root}",
        "--points=3",
        "--folds=2",
        "--smallest=30%",
        "--cost=6",
        *more,
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, text_folder):
    root = tmp_path_factory.mktemp("tunes") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)
        patch.setenv("NPROC", "1")
        assert main(arguments(root, text_folder)) == 0
    return root


def read(root: Path) -> dict:
    return json.loads((root / "tune.json").read_text())


def test_sizes_are_met_and_the_cost_is_kept(finished):
    content = read(finished)
    spent = content["spent_in_runs"]
    assert 5.9 < min(spent) <= max(spent) <= 6.0
    for point in content["points"]:
        for size in point["sizes"]:
            # Packed files are within 1 % of what is reckoned, which is never above.
            assert 0.97 * point["budget"] <= size <= point["budget"]
    steps = [point["steps"] for point in content["points"]]
    assert steps == sorted(steps)  # So a smaller model need not be worse.
    assert all(point["alpha"] > 0 for point in content["points"][1:])


def test_each_document_is_held_out_once(finished):
    content = read(finished)
    reports = [
        json.loads((finished / f"fold{f}" / "point0" / "report.json").read_text())
        for f in range(2)
    ]
    tokens = [report["data"]["tokens_valid"] for report in reports]
    assert content["held_out"]["targets"] == sum(tokens)
    train = reports[0]["data"]["tokens_train"]
    assert abs(train - tokens[1]) < 32  # The last row of train is dropped.


def test_the_chosen_model_is_there_and_used_by_the_closing_line(
    finished, text_folder, capsys, monkeypatch
):
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)
    before = (finished / "tune.json").read_bytes()
    assert main(arguments(finished, text_folder)) == 0
    assert f"generate --workdir={finished}/chosen" in capsys.readouterr().out
    assert (finished / "tune.json").read_bytes() == before
    assert main(["evaluate", f"--workdir={finished}/fold1/point2"]) == 0
    assert main(["evaluate", f"--workdir={finished}/chosen"]) == 0
    assert (finished / "tune.html").is_file()


def test_killed_again_and_again_it_ends_the_same(finished, text_folder, tmp_path):
    environment = os.environ | {"NPROC": "1", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "slimjax.cli"]
    command += arguments(tmp_path / "t", text_folder, "--refit=none", "--lease=10s")
    start = lambda: subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    rng = random.Random(0)
    for _ in range(KILLS):
        process = start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=rng.uniform(5, 40))
        process.kill()
        process.communicate()
    for process in (start(), start()):
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-2000:]
    assert (tmp_path / "t" / "tune.json").read_bytes() == (
        finished / "tune.json"
    ).read_bytes()


def test_examples_are_dealt_by_label_and_the_headline_stands_beside(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)
    rng, lines = random.Random(1), []
    for i in range(240):
        label = "good" if i % 3 else "bad"
        words = rng.choices(["fine", "nice", label, "day", "food"], k=6)
        lines.append(json.dumps({"text": f"{i} {' '.join(words)}", "label": label}))
    (tmp_path / "reviews.jsonl").write_text("\n".join(lines))
    command = [
        "tune",
        "--config=configs/classification.py",
        f"--config.data.source=jsonl:{tmp_path}/reviews.jsonl",
        "--config.data.tokenizer=bytes",
        "--config.data.stratify=true",
        "--config.data.batch_size=16",
        "--config.mesh.data=1",
        "--config.model.width=16",
        "--config.model.num_heads=2",
        "--config.model.mlp_dim=32",
        "--config.model.num_layers=1",
        "--config.train.num_steps=60",
        "--config.optim.warmup_steps=5",
        "--config.resize.first_step=20",
        f"--workdir={tmp_path / 't'}",
        "--points=2",
        "--folds=2",
        "--smallest=40%",
        "--cost=6",
    ]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "one_standard_error chooses" in shown
    assert "slimjax predict" in shown
    content = read(tmp_path / "t")
    assert content["metrics"][0]["key"] == "accuracy"
    for point in content["points"]:
        assert 0 <= point["metrics"]["accuracy"]["valid"] <= 1
    folds = content["held_out"]["documents"]
    assert abs(folds[0] - folds[1]) <= 2
