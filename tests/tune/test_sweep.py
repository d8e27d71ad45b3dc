"""The runner, with trainings that only pretend."""

import json
import os
import signal

import jax
import pytest

from slimjax.config import override, read_config
from slimjax.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    NotFeasibleError,
    ProcessError,
    StoppedError,
)
from slimjax.store.files import write_json
from slimjax.store.run_folder import RunFolder
from slimjax.tune import runner
from slimjax.tune import sweep as room
from slimjax.tune.arms import make_arms
from slimjax.tune.claims import Claims
from slimjax.tune.equal import Cost
from slimjax.tune.grid import parse_axis
from slimjax.tune.runner import Runner
from slimjax.tune.sweep import Plan, sweep


@pytest.fixture
def plan(text_folder):
    changes = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
    config = override(read_config("configs/tiny_test.py"), changes)
    arms = make_arms(config, [parse_axis("objective.budget=50%,60%")])
    return Plan(tuple(arms), seeds=(0, 1, 2))


@pytest.fixture
def trained(monkeypatch):
    """Replaces training; returns the names of the folders trained in."""
    names = []

    def train(run, workdir, **options):
        del options
        names.append(workdir.name)
        report = {"error": {"test_bits_per_byte": 2.0 + run.seed / 10}}
        write_json(workdir / "config.json", run.as_dict())
        write_json(workdir / "report.json", report)
        return report

    monkeypatch.setattr(runner, "train", train)
    return names


def run_it(plan, root):
    return sweep(plan, root, quiet=True)


def test_every_arm_is_run_with_every_seed_and_summed_up(plan, trained, tmp_path):
    result = run_it(plan, tmp_path / "s")
    assert trained == [f"budget={b}%-seed{s}" for b in (50, 60) for s in range(3)]
    assert result == json.loads((tmp_path / "s" / "sweep.json").read_text())
    mean = result["arms"][1]["means"]["test_bits_per_byte"]
    assert (mean["mean"], mean["num"]) == (pytest.approx(2.1), 3)
    assert result["arms"][1]["means"]["params"] is None
    assert not list((tmp_path / "s" / "claims").rglob("*.json"))


def test_arms_of_the_same_data_share_them(plan, monkeypatch, tmp_path):
    found = []

    def train(run, workdir, *, load, display, **options):
        del options
        found.append(load(run, RunFolder(workdir), display))
        write_json(workdir / "config.json", run.as_dict())
        write_json(workdir / "report.json", {"error": {}})
        return {"error": {}}

    monkeypatch.setattr(runner, "train", train)
    sweep(plan, tmp_path / "s", quiet=True)
    assert len(found) == 6
    assert {id(data) for data in found} == {id(found[0])}


def test_what_is_finished_is_skipped_and_more_can_be_asked_for(plan, trained, tmp_path):
    run_it(Plan(plan.arms[:1], seeds=(0, 1)), tmp_path / "s")
    trained.clear()
    run_it(plan, tmp_path / "s")
    assert trained == ["budget=50%-seed2", *(f"budget=60%-seed{s}" for s in range(3))]


def test_what_others_run_is_waited_for_and_taken_over(
    plan, trained, tmp_path, monkeypatch
):
    other = Claims(tmp_path / "s" / "claims", host="elsewhere")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.json").write_text("{}")
    claim, looks = other.take("budget=50%-seed1"), []

    def sleep(_):
        looks.append(len(trained))
        if len(looks) == 2:  # It ends before the work does.
            claim.drop()

    monkeypatch.setattr(runner.time, "sleep", sleep)
    result = run_it(plan, tmp_path / "s")
    assert looks == [5, 5]
    assert trained[-1] == "budget=50%-seed1"
    states = [trial["state"] for trial in result["arms"][0]["trials"]]
    assert states == ["finished"] * 3


@pytest.mark.parametrize(
    "error",
    [
        NotFeasibleError("The loss is not finite at step 3."),
        DataError("The vocabulary is too large for this text."),
        CheckpointError("The last save failed."),
        MemoryError("The machine has no more."),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: The device has no more."),
    ],
)
def test_a_run_that_fails_does_not_stop_the_others(
    plan, trained, tmp_path, monkeypatch, error
):
    pretend = runner.train

    def train(run, workdir, **options):
        if run.seed == 1:
            raise error
        return pretend(run, workdir, **options)

    monkeypatch.setattr(runner, "train", train)
    result = run_it(plan, tmp_path / "s")
    assert len(trained) == 4
    failed = result["arms"][0]["trials"][1]
    assert failed["state"] == "failed"
    assert str(error) in failed["reason"]
    assert result["arms"][0]["means"]["test_bits_per_byte"]["num"] == 2


@pytest.mark.parametrize(
    "error",
    [
        ProcessError("Process 1 is lost."),
        ValueError("a bug of ours"),
        KeyboardInterrupt(),
    ],
)
def test_what_concerns_all_runs_ends_the_sweep(plan, tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(runner, "train", fail)
    with pytest.raises(type(error)):
        run_it(plan, tmp_path / "s")


def test_an_arm_whose_pilot_fails_does_not_stop_the_others(
    plan, trained, tmp_path, monkeypatch
):
    wide = override(plan.arms[0].config, [("data.vocab_size", "300")])
    arms = (*plan.arms, plan.arms[0].__class__("vocab_size=300", {}, wide))
    pretend = runner.train
    cost = Cost((1.0,), 0.0, 0.0, flops_total=1.0)
    monkeypatch.setattr(room, "read_cost", lambda _: cost)
    monkeypatch.setattr(room, "find_steps", lambda *_: 24)
    monkeypatch.setattr(room, "predictor", lambda *_: float)

    def train(run, workdir, **options):
        if run.data.vocab_size == 300:
            trained.append(workdir.relative_to(tmp_path / "s").as_posix())
            raise DataError("This text cannot be read.")
        report = pretend(run, workdir, **options) | {"train": {"flops_total": 9.0}}
        write_json(workdir / "report.json", report)
        return report

    monkeypatch.setattr(runner, "train", train)
    result = run_it(Plan(arms, (0, 1), equal="flops"), tmp_path / "s")
    states = [[t["state"] for t in arm["trials"]] for arm in result["arms"]]
    assert states == [["finished"] * 2, ["finished"] * 2, ["failed"] * 2]
    failed = [name for name in trained if "vocab_size" in name]
    assert failed == ["pilots/vocab_size=300"]


def test_all_arms_are_checked_before_the_first_one_runs(plan, trained, tmp_path):
    wrong = override(plan.arms[0].config, [("objective.budget", "1e9")])
    arms = (*plan.arms, plan.arms[0].__class__("budget=1e9", {}, wrong))
    with pytest.raises(ConfigError, match=r"^arm budget=1e9: "):
        run_it(Plan(arms, (0,)), tmp_path / "s")
    assert not trained
    assert not (tmp_path / "s").exists()
    with pytest.raises(ConfigError, match="Did you mean flops"):
        Plan(plan.arms, (0,), equal="flop")


def test_a_folder_of_other_things_is_refused(plan, trained, tmp_path):
    (tmp_path / "letter.txt").touch()
    with pytest.raises(ConfigError, match="holds other files, no sweep"):
        run_it(plan, tmp_path)
    assert not trained


def test_a_signal_ends_the_sweep_and_gives_claims_back(plan, tmp_path, monkeypatch):
    root = tmp_path / "s"

    def saved(*_, **__):
        raise StoppedError("SIGINT: saved at step 3.", exit_code=130)

    monkeypatch.setattr(runner, "train", saved)
    with pytest.raises(StoppedError) as caught:
        run_it(plan, root)
    assert caught.value.exit_code == 130

    monkeypatch.setattr(runner, "train", lambda *_, **__: os.kill(os.getpid(), 15))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError) as caught:
        run_it(plan, root)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
    assert not list((root / "claims").rglob("*.json"))
    assert (root / "sweep.json").is_file()


def test_equal_flops_wait_for_what_others_run(plan, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "SECONDS_BETWEEN_LOOKS", 0.0)
    one = Runner(tmp_path, quiet=True)
    trial, looks = plan.arms[0].trial(0), []
    other = Claims(tmp_path / "claims", host="elsewhere")
    claim = other.take(trial.name)

    def sleep(_):
        looks.append(1)
        if len(looks) == 3:
            claim.drop()

    monkeypatch.setattr(runner.time, "sleep", sleep)
    assert one.wait_for(trial)["error"]
    assert len(looks) == 3
    assert trained == [trial.name]
