"""Runs that meet a model of images: its pixels keep their size and their scale."""

import dataclasses
import json

import numpy as np
import pytest
from finished_runs import make_reader
from image_files import draw, make_folder

import slimjax
from slimjax import tasks
from slimjax.data.image_decoding import Fit
from slimjax.data.image_table import ImageShape, load_image_shape
from slimjax.errors import ConfigError
from slimjax.run.branch import take_over
from slimjax.run.init_shape import input_codecs, take_shape
from slimjax.run.teaching import find_teacher
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import make_run_config

SHAPE = ImageShape(Fit(5, 7, 3, "same"), normalize=(0.5, 0.25))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path_factory.mktemp("cache")))


def make_config(pictures, data=(), **blocks):
    data = dict(source=f"images:{pictures}", batch_size=4, **dict(data))
    model = dict(kind="mlp", width=5, dtype="float32")
    config = dict(task="image_classification", data=data, model=model)
    return config | dict(objective=dict(strategy="none"), mesh=dict(data=1)) | blocks


def write_old(folder):
    """Makes ``image.json`` one of a version that did not say how bytes are scaled."""
    old = dataclasses.replace(load_image_shape(folder / "tokenizer"), normalize=None)
    old.save(folder / "tokenizer")


@pytest.mark.parametrize("is_old", [False, True])
def test_a_teacher_of_pixels_in_another_scale_is_refused(tmp_path, is_old):
    pictures = make_folder(tmp_path / "pictures", 24)
    make_reader(tmp_path / "teacher", SHAPE, normalize=SHAPE.normalize)
    if is_old:
        write_old(tmp_path / "teacher")
    distill = dict(teacher=str(tmp_path / "teacher"))

    def find(normalize):
        config = make_config(pictures, dict(normalize=normalize), distill=distill)
        run = make_run_config(config)
        data = tasks.get(run.task).load(run.data)
        return find_teacher(run, RunFolder(tmp_path / "run"), data, None)

    for same in ((0.5, 0.25), (0.5, 0.5, 0.5, 0.25, 0.25, 0.25)):
        assert find(same) is not None
    with pytest.raises(ConfigError, match=r"normalize=\[0.5, 0.25\], and this") as e:
        find(())
    assert "\n" not in str(e.value)


def test_a_run_does_not_go_on_with_pixels_in_another_scale(tmp_path):
    pictures = make_folder(tmp_path / "pictures", 24)
    trunk = make_reader(tmp_path / "trunk", SHAPE, normalize=SHAPE.normalize)
    config = make_config(pictures, train=dict(continue_from=trunk))
    run = make_run_config(config)
    data = tasks.get(run.task).load(run.data)
    message = r"^config.data.normalize=\[\], but the run .* has \[0.5, 0.25\]"
    with pytest.raises(ConfigError, match=message):
        take_over(run, RunFolder(tmp_path / "run"), data)


def test_a_model_answers_as_its_folder_says_and_older_ones_as_their_config(tmp_path):
    make_reader(tmp_path / "run", SHAPE, normalize=SHAPE.normalize)
    content = json.loads((tmp_path / "run/tokenizer/image.json").read_text())
    assert content["normalize"] == [0.5, 0.25]
    items = [{"image": draw(i)} for i in range(3)]

    def scores():
        answers = slimjax.load(tmp_path / "run").predict(items)
        return [answer["scores"]["cat"] for answer in answers]

    before = scores()
    write_old(tmp_path / "run")
    np.testing.assert_array_equal(scores(), before)
    dataclasses.replace(SHAPE, normalize=()).save(tmp_path / "run/tokenizer")
    assert not np.allclose(scores(), before)


SCALED = ImageShape(Fit(6, 8, 3, "pad"), normalize=(0.5, 0.25))


@pytest.mark.parametrize("shape", [SHAPE, SCALED])
def test_a_run_takes_size_and_scale_over_from_the_model_it_starts_from(tmp_path, shape):
    pictures = make_folder(tmp_path / "pictures", 24)
    source = make_reader(tmp_path / "run", shape, normalize=shape.normalize)
    config = make_config(pictures, model=dict(init_from=source))
    run = take_shape(make_run_config(config))
    data = tasks.get(run.task).load(run.data, codecs=input_codecs(run))
    assert run.data.normalize == shape.normalize
    assert run.data.image_shape == (None if shape is SHAPE else (6, 8))
    assert data.codecs["image"] == shape
    again = take_shape(make_run_config(run.as_dict()))
    assert again.as_dict() == run.as_dict()
    write_old(tmp_path / "run")
    assert take_shape(make_run_config(config)).as_dict() == run.as_dict()


@pytest.mark.parametrize(
    ("name", "value", "has"),
    [
        ("normalize", (0.5, 0.5), r"\(0.5, 0.25\)"),
        ("normalize", (), r"\(0.5, 0.25\)"),
        ("image_size", 12, r"\(6, 8\)"),
        ("image_size", 0, r"\(6, 8\)"),
        ("channels", 1, "3"),
        ("image_fit", "crop", "pad"),
    ],
)
def test_a_stated_setting_of_images_that_differs_is_refused(tmp_path, name, value, has):
    source = make_reader(tmp_path / "run", SCALED, normalize=SCALED.normalize)
    stated = {name: value}
    config = make_config("nowhere", stated, model=dict(init_from=source))
    message = rf"config.data.{name}=.*, but the images of .* have '?{has}'?\. Leave"
    with pytest.raises(ConfigError, match=message) as caught:
        take_shape(make_run_config(config))
    assert "\n" not in str(caught.value)


def test_stated_settings_of_images_that_agree_are_accepted(tmp_path):
    source = make_reader(tmp_path / "run", SCALED, normalize=SCALED.normalize)
    stated = dict(image_size=[6, 8], image_fit="pad", channels=3, normalize=[0.5, 0.25])
    config = make_config("nowhere", stated, model=dict(init_from=source))
    plain = make_config("nowhere", model=dict(init_from=source))
    found = [take_shape(make_run_config(one)).as_dict() for one in (config, plain)]
    assert found[0] == found[1]
