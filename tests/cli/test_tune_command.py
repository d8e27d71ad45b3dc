"""A real tune of a tiny model: from the command line to the model that it chooses."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slimjax.cli.main import main
from slimjax.tune.answer import answer

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
            assert 0.99 * point["budget"] <= size <= point["budget"]
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


def test_another_choice_is_not_taken_for_the_model_of_all_folds(
    finished, text_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)
    root = tmp_path / "copy"
    shutil.copytree(finished, root)
    content = read(finished)
    chosen = answer(content, content["rule"]).point["name"]
    for number, point in enumerate(content["points"]):
        rule = f"--rule=size_below={point['size']}"
        found = answer(content, rule.removeprefix("--rule="))
        assert main(arguments(root, text_folder, rule, "--refit=none")) == 0
        shown = capsys.readouterr().out
        is_refit = found.point["name"] == chosen
        folder = "chosen" if is_refit else f"fold0/{found.point['name']}"
        assert f"generate --workdir={root}/{folder} " in shown, number
        assert ("That cost" in shown) == is_refit


def test_every_point_is_taken_by_the_other_commands(finished, tmp_path, capsys):
    for fold in range(2):
        for k in range(3):
            folder, page = finished / f"fold{fold}/point{k}", tmp_path / f"{fold}{k}"
            for command in (
                ["evaluate", f"--workdir={folder}"],
                ["generate", f"--workdir={folder}", "--prompt=ab", "--seed=1"],
                ["report", str(folder), f"--output={page}.html"],
                ["export", "--format=packed", f"--workdir={folder}"],
            ):
                more = [f"--output={page}.packed"] if command[0] == "export" else []
                assert main([*command, *more]) == 0, command
                capsys.readouterr()
            assert page.with_suffix(".html").is_file()
            assert page.with_suffix(".packed").exists()


def test_submitted_workers_end_the_same_with_fresh_models_beside(
    finished, text_folder, tmp_path, monkeypatch
):
    root = tmp_path / "submitted"
    command = [sys.executable, "-m", "slimjax"]
    command += arguments(root, text_folder, "--refit=none", "--compare=scratch")
    command += ["--submit=local", "--workers=2", "--wait"]
    environment = os.environ | {"NPROC": "1", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (root / "log.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    begun = [entry["piece"] for entry in entries if entry["what"] == "begin"]
    assert len(begun) == len({*begun})
    assert len({entry["pid"] for entry in entries}) == 2
    content, alone = read(root), read(finished)
    own = ("compared", "corner", "hypervolume")
    for key in {*alone} - {*own}:
        assert content[key] == alone[key], key
    assert [*content["compared"]] == ["fresh, 4 bits", "fresh, 8 bits"]
    for curve in content["compared"].values():
        for point in curve["points"]:
            assert max(point["sizes"]) <= point["budget"]
            assert point["above_path_low"] <= point["above_path"]
    # The same command without --compare keeps what is finished.
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)
    assert main(arguments(root, text_folder, "--refit=none")) == 0
    assert "fresh, 8 bits" in (root / "tune.html").read_text()
    assert read(root) == content


def test_killed_again_and_again_it_ends_the_same(finished, text_folder, tmp_path):
    environment = os.environ | {"NPROC": "1", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "slimjax"]
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
    assert content["unit"] == "examples"
    for name in ("fold0/point0", "fold1/point1", "chosen"):
        folder = tmp_path / "t" / name
        assert main(["predict", f"--workdir={folder}", "--text=a nice day"]) == 0
        assert json.loads(capsys.readouterr().out)["prediction"] in ("good", "bad")
