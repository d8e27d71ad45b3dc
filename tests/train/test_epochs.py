"""Epochs in place of steps: counted once data are read, checked before compiling."""

import dataclasses
import json
import math

import pytest

from slimjax.config import override, read_config
from slimjax.errors import ConfigError
from slimjax.run import loop, start
from slimjax.run.dry_run import describe
from slimjax.run.progress import Display
from slimjax.train.config import check_same_run, make_run_config, with_num_steps
from slimjax.tune.equal import check_scalable


def make_config(*changes: tuple[str, str]) -> dict:
    config = override(read_config("configs/tiny_test.py"), list(changes))
    del config["train"]["num_steps"]
    return override(config, [("mesh.data", "1"), ("train.num_epochs", "3"), *changes])


def make_run(*changes: tuple[str, str]):
    return make_run_config(make_config(*changes))


@pytest.mark.parametrize(
    ("epochs", "rows", "steps"),
    [
        ("3", 96, 36),
        ("3", 97, 37),
        ("0.5", 240, 15),
        ("1.1", 400, 55),
        ("2.2", 200, 55),
    ],
)
def test_steps_are_epochs_times_rows_in_batches_rounded_up(epochs, rows, steps):
    run = make_run(("train.num_epochs", epochs))
    assert run.data.batch_size == 8
    counted = with_num_steps(run, rows)
    assert counted.train.num_steps == steps
    assert counted.seam_steps == (10, 15)[: 1 + (steps > 15)]


def test_a_run_of_steps_is_left_as_it_is():
    run = make_run_config(read_config("configs/tiny_test.py"))
    assert with_num_steps(run, 5) is run


def test_steps_and_epochs_together_are_refused():
    config = override(make_config(), [("train.num_steps", "40")])
    with pytest.raises(ConfigError) as caught:
        make_run_config(config)
    message = str(caught.value)
    assert "config.train.num_steps=40 and config.train.num_epochs=3" in message
    assert "\n" not in message
    assert make_run_config(override(config, [("train.num_steps", "0")])) == make_run()
    with pytest.raises(ConfigError, match=r"num_steps=0 must be 1 or more"):
        make_run_config(override(config, [("train.num_epochs", "0"), *NO_STEPS]))
    with pytest.raises(ConfigError, match=r"num_epochs=-1.0 must be 0 or more"):
        make_run_config(override(config, [("train.num_epochs", "-1")]))


NO_STEPS = [("train.num_steps", "0")]


@pytest.mark.parametrize(
    ("changes", "rows", "reason"),
    [
        ([], 8, r"warmup_steps=5 must be below the 3 steps of .*num_epochs=3 \(8 rows"),
        ([], 16, "needs a seam before config.train.num_steps=6"),
        (
            [("quantize.bits", "4"), ("quantize.first_step", "50")],
            96,
            "first_step=50 must come before config.train.num_steps=36",
        ),
    ],
)
def test_what_depends_on_steps_is_checked_when_they_are_known(changes, rows, reason):
    run = make_run(*changes)
    with pytest.raises(ConfigError, match=reason):
        with_num_steps(run, rows)


def test_without_data_nothing_is_said_about_steps():
    plan = describe(make_run())
    assert plan["num_epochs"] == 3
    assert plan["tokens"] is plan["flops_total_without_seams"] is None
    assert plan["seam_steps"] == [10, 15]
    with pytest.raises(ConfigError, match="num_epochs=3 cannot be scaled"):
        check_scalable(make_run())


class Killed(BaseException):
    """Stands for the power cut."""


@pytest.mark.slow
def test_a_run_of_epochs_is_that_of_as_many_steps_and_resumes(
    tmp_path, text_folder, monkeypatch
):
    changes = [("data.source", f"text:{text_folder}/*.txt"), ("model.num_layers", "1")]
    run, shown = make_run(*changes, ("train.num_epochs", "0.04")), []
    monkeypatch.setattr(Display, "say", lambda _, text: shown.append(text))

    def train(run, name):
        with Display(quiet=True) as display:
            return start.train(run, tmp_path / name, display=display)

    def kill(point):
        if point == "seam-after":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill)
        with pytest.raises(Killed):
            train(run, "epochs")
    report = train(run, "epochs")
    rows = report["data"]["tokens_train"] / 32
    steps = report["train"]["steps"]
    assert steps == pytest.approx(0.04 * rows / 8, abs=1)
    assert any(f"are {steps} steps" in text for text in shown)
    stored = json.loads((tmp_path / "epochs" / "config.json").read_text())
    assert stored["train"]["num_steps"] == steps
    check_same_run(stored, run)
    with pytest.raises(ConfigError, match=r"num_epochs=0\.05, but the run in this"):
        check_same_run(stored, make_run(*changes, ("train.num_epochs", "0.05")))

    counted = dataclasses.replace(run.train, num_epochs=0.0, num_steps=steps)
    same = train(dataclasses.replace(run, train=counted), "steps")
    assert same["state_hash"] == report["state_hash"]
    assert math.isfinite(report["error"]["valid_nats_per_token"])
