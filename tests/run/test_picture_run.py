"""A run of a model of pictures: filters and bits go, and what is left answers."""

import json

import numpy as np
import pytest

import slimjax
from slimjax.cli.main import main
from slimjax.errors import ConfigError
from tests.image_files import make_folder

CONFIG = {
    "task": "image_classification",
    "data": {"batch_size": 8, "valid_fraction": 0.2, "test_fraction": 0.2}
    | {"normalize": [0.5, 0.25]},
    "model": {"kind": "encoder", "stem": "convolution", "filters": [6, 8]}
    | {"width": 8, "num_layers": 0, "image_norm": "layer", "dtype": "float32"},
    "objective": {"strategy": "exchange", "size": "bytes", "budget": "40%"},
    "quantize": {"bits": [4, 8, 16]},
    "resize": {"first_step": 20, "every_steps": 20, "max_seams": 1},
    "optim": {"learning_rate": 0.02, "warmup_steps": 0},
    "train": {"num_steps": 60, "eval_every_steps": 0},
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_a_convolution_learns_slims_and_is_exported(tmp_path, capsys):
    make_folder(tmp_path / "a", 60, size=(8, 8))
    config = {**CONFIG, "data": {**CONFIG["data"], "source": f"images:{tmp_path}/a"}}
    report = slimjax.fit(config=config, workdir=tmp_path / "run", quiet=True)
    assert report["error"]["test_accuracy"] == 1.0
    start, end = (report["stages"][i]["bytes"] for i in (0, -1))
    assert 0.38 * start <= end <= 0.4 * start
    architecture = json.loads((tmp_path / "run/architecture.json").read_text())
    tower = architecture["towers"][""]
    assert all(
        1 <= kept <= whole for kept, whole in zip(tower["filters"], (6, 8), strict=True)
    )
    assert tower["filters"] != [6, 8]

    workdir = f"--workdir={tmp_path / 'run'}"
    for kind in ("stablehlo", "packed"):
        out = f"--output={tmp_path / kind}"
        assert main(["export", f"--format={kind}", workdir, out]) == 0
    capsys.readouterr()
    for kind in ("hf", "gguf"):
        out = f"--output={tmp_path / kind}"
        assert main(["export", f"--format={kind}", workdir, out]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "--format=stablehlo" in line
        assert not (tmp_path / kind).exists()
    items = [{"image": np.full((8, 8, 3), light, np.uint8)} for light in (30, 220)]
    answers = slimjax.load(tmp_path / "run").predict(items)
    assert [answer["prediction"] for answer in answers] == ["dog", "cat"]


def test_pictures_that_pools_do_not_divide_end_in_one_line(tmp_path):
    make_folder(tmp_path / "a", 20, size=(6, 8))
    config = {**CONFIG, "data": {**CONFIG["data"], "source": f"images:{tmp_path}/a"}}
    with pytest.raises(
        ConfigError, match=r"config\.model\.pools: 2 of stage 1 .*3 x 4"
    ):
        slimjax.fit(config=config, workdir=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run/checkpoints").exists()
