"""What `slimjax.fit` takes, gives, and does with an impatient user."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import slimjax
from slimjax.config import override, read_config
from slimjax.errors import ConfigError
from slimjax.run import loop


@pytest.fixture
def config(text_folder):
    changes = [("objective.strategy", "none"), ("objective.budget", "")]
    changes += [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
    changes += [("data.tokenizer", "bytes"), ("train.num_steps", "4")]
    return override(read_config("configs/tiny_test.py"), changes)


def test_values_may_come_from_numpy_and_pathlib(config, tmp_path):
    config["seed"] = np.int64(1)
    config["optim"] |= {"learning_rate": np.logspace(-3, -2, 3)[0]}
    config["train"] |= {"num_steps": np.arange(2, 5)[2]}
    config["resize"] |= {"uniform": np.bool_(False)}
    config["quantize"] = {"bits": np.array([8])}
    config["distill"] = {"teacher": Path("nowhere"), "weight": np.float32(0)}
    report = slimjax.fit(config, tmp_path / "run", quiet=True)
    assert report["seed"] == 1
    assert report["train"]["steps"] == 4


def test_a_report_is_a_dict_that_shows_itself(config, tmp_path):
    report = slimjax.fit(config, str(tmp_path / "run"), quiet=True)
    assert isinstance(report, dict)
    assert report["train"]["steps"] == 4
    assert report.workdir == tmp_path / "run"
    assert report.workdir.joinpath("report.html").is_file()
    assert "training" in repr(report)
    page = report._repr_html_()
    assert "<table>" in page
    assert len(page) < 20_000
    model = slimjax.load(report.workdir)
    assert "<table>" in model._repr_html_()
    assert "23,808" in repr(model) or "params" in repr(model)


def test_a_second_interrupt_ends_the_call_and_not_the_interpreter(
    config, tmp_path, monkeypatch
):
    steps, plain = iter(range(99)), loop.fault_point

    def press_twice(name: str) -> None:
        if name == "step" and next(steps) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        plain(name)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", press_twice)
        with pytest.raises(KeyboardInterrupt):
            slimjax.fit(config, tmp_path / "run", quiet=True)
    assert signal.getsignal(signal.SIGINT) is before
    assert slimjax.fit(config, tmp_path / "run", quiet=True)["train"]["steps"] == 4


@pytest.mark.wrong_types
@pytest.mark.parametrize("config", [3, None, [1], "quickstart"])
def test_what_is_no_config_is_refused(config, tmp_path):
    with pytest.raises(ConfigError):
        slimjax.fit(config, tmp_path / "run", quiet=True)
