"""Data sets without a split: which one is read, and when that is refused."""

import json

import pytest

from slimjax.cli.main import main
from slimjax.cli.unnamed_splits import note_train, refuse_trained
from slimjax.errors import ConfigError


def write_run(folder, source):
    config = {"task": "classification", "data": {"source": source}}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    ("names", "noted"),
    [
        ("tfds:reviews", "--input=tfds:reviews reads the split train."),
        ("tfds:glue/sst2:2.0.0", "brackets: tfds:glue/sst2:2.0.0[test]."),
        ("tfds:reviews[test]", ""),
        ("csv:a.csv", ""),
        (None, ""),
    ],
)
def test_the_split_of_a_data_set_that_names_none_is_written(names, noted, capsys):
    note_train("--input", names)
    found = capsys.readouterr().err
    assert noted in found
    assert len(found.splitlines()) == bool(noted)


@pytest.mark.parametrize(
    "source", ["tfds:reviews", ["csv:a.csv", "tfds:reviews[train[:9%]]"]]
)
def test_a_model_is_not_measured_on_what_it_was_trained_on(tmp_path, source, capsys):
    workdir = write_run(tmp_path, source)
    with pytest.raises(ConfigError, match=r"trained on\. Name a split in brackets"):
        refuse_trained(workdir, "tfds:reviews:1.0.0")
    for names in ("tfds:reviews[train]", "tfds:reviews[test]", "tfds:wiki", None):
        refuse_trained(workdir, names)
    argv = ["evaluate", f"--workdir={workdir}", "--data=tfds:reviews"]
    assert main(argv) == 2
    assert "trained on. Name a split in brackets" in capsys.readouterr().err


def test_a_model_of_another_split_is_measured(tmp_path):
    refuse_trained(write_run(tmp_path, "tfds:reviews[test]"), "tfds:reviews")
    refuse_trained(str(tmp_path / "none"), "tfds:reviews")
