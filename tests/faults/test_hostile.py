"""Files are data: nothing in them is executed, and nothing outside is written."""

import shutil

import hostile
import pytest
from runs import Says, make_run

from slimjax.cli.main import main
from slimjax.run import start


@pytest.fixture(scope="module")
def finished(tmp_path_factory, text_folder):
    root = tmp_path_factory.mktemp("finished") / "run"
    start.train(make_run(text_folder), root, display=Says())
    return root


@pytest.mark.parametrize("attack", hostile.ATTACKS)
def test_a_hostile_folder_harms_nobody(tmp_path, finished, attack, capfd):
    assert hostile.harm_of(attack, finished, tmp_path) == ""
    assert "Traceback" not in capfd.readouterr().err


def test_the_harm_would_be_seen(tmp_path, finished):
    shutil.copytree(finished, tmp_path / "run")
    hostile.ATTACKS["metrics.jsonl is a link"](tmp_path / "run", tmp_path)
    before = hostile.snapshot(tmp_path)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write("x")
    assert hostile.snapshot(tmp_path) != before
    assert main(["inspect", str(tmp_path / "nowhere")]) == 2
