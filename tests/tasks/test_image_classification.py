"""Classification of images: bytes become numbers in the step, and a run learns."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from image_files import draw, make_folder, save

import slimjax
from slimjax.cli.main import main
from slimjax.errors import ConfigError
from slimjax.tasks import get
from slimjax.tasks.pixels import with_pixels

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


def cut_short(folder):
    """Cuts a file of an image in half."""
    data = (folder / "cat/000.png").read_bytes()
    (folder / "cat/000.png").write_bytes(data[: len(data) // 2])


BAD_INPUTS = {
    "000.png, which is damaged: ": cut_short,
    "000.png, which is not an image that Pillow": lambda folder: (
        folder / "cat/000.png"
    ).write_bytes(b"GIF89a"),
    "has 40 x 30 pixels, more than config.data.max_pixels=1,000": lambda folder: save(
        folder / "cat/000.png", draw(0, 30, 40)
    ),
    "000.png, which is not there": lambda folder: (
        [(folder / "cat/000.png").unlink(), (folder / "cat/000.png").symlink_to("no")]
    ),
    "is the folder of a class, owl, and holds no image": lambda folder: (
        folder / "owl"
    ).mkdir(),
    "leads back to": lambda folder: (folder / "cat/all").symlink_to(folder),
}


@pytest.mark.parametrize("words", BAD_INPUTS)
def test_bad_input_ends_in_one_line(tmp_path, capsys, words):
    make_folder(tmp_path / "a", 20)
    BAD_INPUTS[words](tmp_path / "a")
    source = f"images:{tmp_path / 'a'}"
    config = write_config(tmp_path, source, data__max_pixels=1000)
    workdir = f"--workdir={tmp_path / 'run'}"
    assert main(["train", f"--config={config}", workdir]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in error if words in line]) == 1
    assert "Traceback" not in "".join(error)
    assert not (tmp_path / "run/checkpoints").exists()


def test_text_models_do_not_read_images(tmp_path):
    make_folder(tmp_path / "a", 20)
    changes = dict(model__kind="encoder", model__width=8)
    config = configure(f"images:{tmp_path / 'a'}", **changes)
    with pytest.raises(ConfigError, match="does not read the pictures"):
        slimjax.fit(config=config, workdir=tmp_path / "run")


class PreparedImages:
    """Stands for a data set that the library opens: images and classes, by splits."""

    def __init__(self, number):
        names = ["dark", "light"]
        classes = SimpleNamespace(int2str=lambda i: names[i])
        image = SimpleNamespace(encoding_format="png")
        self.info = SimpleNamespace(features={"image": image, "label": classes})
        self._examples = [
            {"image": draw(i, 4, 5, 1) // 4 + 150 * (i % 2), "label": np.int64(i % 2)}
            for i in range(number)
        ]

    def as_data_source(self, split):
        assert split in ("train", "test")
        return self

    def __len__(self):
        """Returns the number of examples."""
        return len(self._examples)

    def __getitems__(self, numbers):
        """Returns some examples, as the library does."""
        return [self._examples[i] for i in numbers]


BUILDER = """
import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

class Shades(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        names = tfds.features.ClassLabel(names=["dark", "light"])
        image = tfds.features.Image(shape=(4, 5, 3), encoding_format="png")
        features = tfds.features.FeaturesDict({"image": image, "label": names})
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, dl_manager):
        starts = {"train": 0, "test": 60}
        return {name: self._generate_examples(start) for name, start in starts.items()}

    def _generate_examples(self, start):
        source = np.random.default_rng(start)
        for i in range(start, start + 60):
            pixels = source.integers(0, 60, (4, 5, 3)) + 150 * (i % 2)
            file = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(file, "png")
            yield i, {"image": file.getvalue(), "label": ["dark", "light"][i % 2]}
"""


@pytest.mark.slow
def test_a_builder_of_images_is_prepared_and_trained_from(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/__init__.py").write_text("")
    (tmp_path / "pictures/shades.py").write_text(BUILDER)
    argv = ["prepare", "--tfds_builder=pictures.shades", f"--output={tmp_path}/data"]
    assert main([*argv, "--json"]) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done["splits"] == {"train": 60, "test": 60}
    config = configure("tfds:shades", data__tfds_dir=str(tmp_path / "data"))
    config["data"]["test_source"] = "tfds:shades"
    report = slimjax.fit(config, tmp_path / "run", quiet=True)
    assert report["data"]["examples_test"] == 60
    assert report["error"]["test_accuracy"] == 1.0


def test_a_prepared_set_of_images_trains(tmp_path, monkeypatch):
    folder = tmp_path / "shades/1.0.0"
    folder.mkdir(parents=True)
    splits = [{"name": "train", "shardLengths": ["60"], "numBytes": "9"}]
    info = {"fileFormat": "array_record", "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    open_builder = lambda *_: PreparedImages(60)
    monkeypatch.setattr("slimjax.text.tfds_records.open_builder", open_builder)
    config = configure("tfds:shades", data__tfds_dir=str(tmp_path), data__channels=1)
    report = slimjax.fit(config, tmp_path / "run", quiet=True)
    assert report["error"]["test_accuracy"] == 1.0
    lines = (tmp_path / "run/predictions-test.jsonl").read_text().splitlines()
    line = json.loads(lines[0])
    assert line["expected"]["label"] in ("dark", "light")
    assert "image" not in line  # Pixels are no part of an answer's line.
