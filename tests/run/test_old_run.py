"""A run folder that version 0.1.0 left can be evaluated, written with and finished.

It was killed after its first cut, with a teacher and maps to that one's hidden states.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from slimjax.generate.model import load
from slimjax.run import start
from slimjax.run.evaluate import evaluate_folder
from slimjax.run.progress import Display
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import make_run_config

OLD = Path(__file__).parent / "old_run"
FINISHED_BY_OLD = {
    "valid_nats_per_token": 5.032204109152364,
    "test_nats_per_token": 5.036165459211483,
    "valid_bits_per_byte": 7.267466966866855,
}
"""Of the report of the same run, finished by that version on another machine."""


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """Returns a copy of the folder, beside the text that it learned from."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def test_it_can_be_evaluated_and_written_with(workdir):
    found = evaluate_folder(workdir, source=None, split="test")
    assert found["num_targets"] == 989
    assert found["nats_per_token"] == pytest.approx(5.4658, abs=2e-3)
    model = load(workdir)
    assert set(model.params) == {"params", "gates"}
    one, two = (model.generate(["ab"], max_new_tokens=5, seed=3) for _ in range(2))
    assert one == two


def test_it_goes_on_to_the_end_that_it_would_have_had(workdir):
    config = json.loads((workdir / "config.json").read_text())
    with Display(quiet=True) as display:
        report = start.train(make_run_config(config), workdir, display=display)
    assert report["train"]["restarts"] == 1
    assert report["size"]["params"] == 4736
    for key, value in FINISHED_BY_OLD.items():
        assert report["error"][key] == pytest.approx(value, rel=1e-4)
    folder = RunFolder(workdir)
    newest = folder.checkpoints.list()[-1]
    maps = folder.checkpoints.restore_part(newest, "params")["align"]
    assert set(maps) == {"map_0"}
    assert not np.array_equal(maps["map_0"]["map"], np.eye(16))
    assert len(folder.seams.read()) == 2
