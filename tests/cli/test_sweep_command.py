"""A real sweep of two tiny arms at equal cost, from the command line to the figure."""

import json
import math

import jax.numpy as jnp
import pytest

from slimjax.cli.main import main
from slimjax.data.config import DataConfig
from slimjax.generate.model import load
from slimjax.tasks.error import make_error_fn
from slimjax.tasks.lm import load as load_rows
from slimjax.tasks.lm import make_task

ARMS = ('objective={"strategy": "none", "budget": ""}', '{"strategy": "size_penalty"}')


def arguments(root, text_folder, *more: str) -> list[str]:
    return [
        "sweep",
        "--config=configs/tiny_test.py",
        f"--config.data.source=text:{text_folder}/part1*.txt",
        "--config.mesh.data=1",
        "--config.model.num_layers=1",
        "--config.objective.report_in=bits",
        f"--workdir={root}",
        f"--grid={','.join(ARMS)}",
        "--seeds=1",
        "--equal=flops",
        *more,
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, text_folder):
    root = tmp_path_factory.mktemp("sweeps") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)
        assert main(arguments(root, text_folder)) == 0
    return root


@pytest.mark.slow
def test_an_arm_that_cannot_be_prepared_is_named_and_the_others_run(
    capsys, tmp_path, text_folder
):
    argv = [
        "sweep",
        "--config=configs/tiny_test.py",
        f"--config.data.source=text:{text_folder}/part1.txt",
        "--config.mesh.data=1",
        "--config.train.num_steps=2",
        "--config.data.tokenizer=sentencepiece",
        '--config.objective={"strategy": "none", "budget": ""}',
        f"--workdir={tmp_path / 'sweep'}",
        "--grid=data.vocab_size=90000,300",
        "--seeds=1",
    ]
    assert main(argv) == 3
    captured = capsys.readouterr()
    last = captured.err.strip().splitlines()[-1]
    assert "1 of 2 runs failed: vocab_size=90000-seed0" in last
    arms = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["arms"]
    assert [arm["trials"][0]["state"] for arm in arms] == ["failed", "finished"]
    assert "vocab" in arms[0]["trials"][0]["reason"]
    assert "300" in captured.out


def test_every_run_is_a_run_folder_and_the_sweep_has_its_page(finished):
    sweep = json.loads((finished / "sweep.json").read_text())
    for arm in sweep["arms"]:
        for trial in arm["trials"]:
            assert trial["state"] == "finished"
            assert (finished / trial["name"] / "report.html").is_file()
    for name in ("sweep.html", "sweep.md", "sweep_error.png"):
        assert (finished / name).stat().st_size > 100
    assert "| none | - | 1 |" in (finished / "sweep.md").read_text()


def test_the_arms_spend_the_same(finished):
    dense, slim = json.loads((finished / "sweep.json").read_text())["arms"]
    spent = [arm["trials"][0]["flops_total"] for arm in (dense, slim)]
    assert dense["num_steps"] == 24 < slim["num_steps"]
    assert slim["target_flops"] == spent[0]
    assert slim["pilot_flops"] < spent[0] / 2
    # A step of 24 is 4 %, half of one may be missed, and the pilot's shapes differ.
    assert abs(slim["predicted_flops"] / spent[0] - 1) < 0.04
    assert abs(spent[1] / spent[0] - 1) < 0.06


def test_the_same_command_only_reports_and_other_settings_are_refused(
    finished, text_folder, capsys, monkeypatch
):
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)
    before = (finished / "sweep.json").read_bytes()
    assert main(arguments(finished, text_folder, "--json")) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == json.loads(before)
    other = arguments(finished, text_folder, "--config.optim.learning_rate=1e-2")
    assert main(other) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert "arm strategy=none,budget=: " in error
    assert "config.optim.learning_rate=0.01, but the run in this folder" in error
    assert (finished / "sweep.json").read_bytes() == before


def test_mistakes_are_told_in_one_line(tmp_path, capsys):
    for flag, told in (
        ("--grid=objective.budget", "SETTING=VALUE"),
        ("--grid=objective.budgit=1", "arm budgit=1: config.objective.budgit=1"),
        ("--seeds=0", "--seeds=0 must be in [1, 1000]"),
        ("--equal=flop", "Did you mean flops?"),
        ("--metric=valid_bits_per_byte", "is what --halving ranks by"),
        ("--halving=1", "--halving=1 must be in [2, 10]"),
        ("--lease=3", "--lease=3 must be a time from 10s"),
        ("--workers=2", "--workers has no effect without --submit"),
    ):
        flags = ["--config=configs/tiny_test.py", f"--workdir={tmp_path / 's'}", flag]
        assert main(["sweep", *flags]) == 2
        assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_description_length_is_what_it_is_by_hand(finished, text_folder):
    sweep = json.loads((finished / "sweep.json").read_text())
    workdir = finished / sweep["arms"][0]["trials"][0]["name"]
    length = json.loads((workdir / "report.json").read_text())["description_length"]
    model_file = (workdir / "model.packed.safetensors").stat().st_size
    tokenizer_file = (workdir / "tokenizer" / "bytes.json").stat().st_size
    model, source = load(workdir), f"text:{text_folder}/part1*.txt"
    data = DataConfig(source, tokenizer="bytes", seq_len=32, batch_size=8)
    dataset = load_rows(data)
    rows = dataset.splits["train"]["tokens"]
    error_fn = make_error_fn(make_task(dataset.special), model.config)
    _, sums = error_fn(model.params, {"tokens": jnp.asarray(rows, jnp.int32)})
    nats = sums["nats_sum"]

    assert length["model_bits"] == 8 * model_file
    assert length["tokenizer_bits"] == 8 * tokenizer_file
    assert length["data_bits"] == pytest.approx(float(nats) / math.log(2), rel=1e-4)
    parts = [length[f"{part}_bits"] for part in ("model", "tokenizer", "data")]
    assert length["total_bits"] == pytest.approx(sum(parts))
    assert length["total_bits"] == sweep["arms"][0]["trials"][0]["description_bits"]
    assert (length["data_bits_from"], length["rows"]) == ("all rows", len(rows))
    assert length["bytes_raw"] == int((rows >= 3).sum())
    assert 0 < length["xz_bits"] < 8 * length["bytes_raw"]
