"""Classification of images: bytes become numbers in the step, and a run learns."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import slimjax
from slimjax.cli.main import main
from slimjax.errors import ConfigError
from slimjax.tasks import get
from slimjax.tasks.pixels import with_pixels
from tests.image_files import draw, make_folder, save

CONFIG = {
    "task": "image_classification",
    "data": {"batch_size": 8, "valid_fraction": 0.2, "test_fraction": 0.2}
    | {"normalize": [0.5, 0.25]},
    "model": {"kind": "mlp", "width": 6, "mlp": "relu", "dtype": "float32"},
    "objective": {"strategy": "none"},
    "optim": {"learning_rate": 0.03, "warmup_steps": 0},
    "train": {"num_steps": 40, "eval_every_steps": 0},
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path_factory.mktemp("cache")))


def configure(source, **changes):
    blocks = {name: dict(b) if isinstance(b, dict) else b for name, b in CONFIG.items()}
    blocks["data"]["source"] = source
    for name, value in changes.items():
        block, _, key = name.partition("__")
        blocks[block][key] = value
    return blocks


def write_config(tmp_path, source, **changes):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(configure(source, **changes)))
    return str(path)


@pytest.mark.parametrize("normalize", [(), (0.5, 0.25), (0.1, 0.2, 0.3, 1.0, 0.5, 2.0)])
def test_a_model_reads_bytes_scaled_by_channel(normalize):
    task = with_pixels(get("image_classification").make_task({}), normalize)
    pixels = np.stack([draw(0), draw(1)])
    read = jax.jit(lambda batch: task.inputs(batch, None))({"image": pixels})
    mean, deviation = np.array(normalize or (0.0, 1.0)).reshape(2, -1)
    expected = (pixels / 255 - mean) / deviation
    np.testing.assert_allclose(read["image"], expected, atol=1e-6)
    assert read["image"].dtype == jnp.float32
    np.testing.assert_array_equal(read["features"], read["image"].reshape(2, -1))


def test_a_run_learns_slims_and_answers_new_images(tmp_path, capsys):
    make_folder(tmp_path / "a", 60)
    config = write_config(tmp_path, f"images:{tmp_path / 'a'}")
    workdir = tmp_path / "run"
    assert main(["train", f"--config={config}", f"--workdir={workdir}"]) == 0
    report = json.loads((workdir / "report.json").read_text())
    assert report["error"]["test_accuracy"] == 1.0
    (tmp_path / "new").mkdir()
    for i, light in enumerate((20, 200)):
        pixels = np.full((5, 7, 3), light, np.uint8)
        save(tmp_path / f"new/{i}.png", pixels)
    out = tmp_path / "out.jsonl"
    source = f"--input=images:{tmp_path / 'new'}"
    assert main(["predict", f"--workdir={workdir}", source, f"--output={out}"]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["prediction"] for line in lines] == ["dog", "cat"]
    assert [line["image"] for line in lines] == ["0.png", "1.png"]
    items = [{"image": np.full((5, 7, 3), 210, np.uint8)}]
    (answer,) = slimjax.load(workdir).predict(items)
    assert answer["prediction"] == "cat"
    capsys.readouterr()


def test_bad_input_ends_in_one_line(tmp_path, capsys):
    make_folder(tmp_path / "a", 20)
    (tmp_path / "a/cat/000.png").write_bytes(b"GIF89a")
    config = write_config(tmp_path, f"images:{tmp_path / 'a'}")
    workdir = f"--workdir={tmp_path / 'run'}"
    assert main(["train", f"--config={config}", workdir]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in error if "000.png" in line]) == 1
    assert "Traceback" not in "".join(error)
    assert not (tmp_path / "run/checkpoints").exists()


def test_text_models_do_not_read_images(tmp_path):
    make_folder(tmp_path / "a", 20)
    changes = dict(model__kind="encoder", model__width=8)
    config = configure(f"images:{tmp_path / 'a'}", **changes)
    with pytest.raises(ConfigError, match="does not read the pictures"):
        slimjax.fit(config=config, workdir=tmp_path / "run")
