"""Rows hold numbers of images: whatever else is in the table, they mean the same."""

from pathlib import Path

import numpy as np
import pytest
from image_files import make_folder, save
from PIL import Image

from slimjax.data import DataConfig, load_labelled_dataset
from slimjax.data.rows_of_images import RowsOfImages

SPLITS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path_factory.mktemp("cache")))


def load(folder, **changes):
    shares = dict(valid_fraction=0.25, test_fraction=0.25)
    config = DataConfig(source=f"images:{folder}", **{**shares, **changes})
    return load_labelled_dataset(config, {"image": "image", "label": "label"})


def check_pixels(dataset):
    """Compares the pixels of all rows with those of the files of their examples."""
    for split in SPLITS:
        examples = dataset.read_examples()[split]
        found = dataset.rows(split, np.arange(len(examples)))["image"]
        paths = [example.values["image"].path for example in examples]
        expected = [np.asarray(Image.open(path)) for path in paths]
        np.testing.assert_array_equal(found, expected)


def test_images_keep_their_rows_when_one_is_renamed(tmp_path):
    root = make_folder(tmp_path / "a", 24)
    for example in load(root).read_examples()["valid"]:
        path = Path(example.values["image"].path)
        renamed = path.rename(path.with_name("99.png"))
        check_pixels(load(root))  # Its split may have the same examples in one order.
        renamed.rename(path)


def test_images_keep_their_rows_when_a_damaged_one_comes_and_goes(tmp_path):
    root, options = make_folder(tmp_path / "a", 24), {"on_bad_example": "skip"}
    first = load(root, **options)
    (root / "cat/0.png").write_bytes(b"no image")
    again = load(root, **options)
    check_pixels(again)
    assert again.fingerprint == first.fingerprint  # Batches have the same pixels.
    (root / "cat/0.png").unlink()
    check_pixels(load(root, **options))


def test_images_keep_their_rows_when_a_copy_is_dropped(tmp_path):
    root, options = make_folder(tmp_path / "a", 24), {"on_duplicate": "drop"}
    load(root, **options)
    pixels = np.asarray(Image.open(root / "dog/023.png"))
    save(root / "dog/0.bmp", pixels)  # Other bytes, the same pixels.
    check_pixels(load(root, **options))


def test_groups_of_an_image_do_not_depend_on_its_number():
    images = np.array([5, 9, 5, 7, 9, 7, 5, 9])
    other = np.array([3, 0, 3, 8, 0, 8, 3, 0])
    for step in range(3):
        found, same = (RowsOfImages(i, 2).choose(step, 4, 1) for i in (images, other))
        np.testing.assert_array_equal(found, same)
