"""Paths of images in rows: what they may lead to, and what is wrong with the others."""

import json
import os

import pytest
from image_files import draw, make_folder, save, write_questions

from slimjax.data import DataConfig, load_labelled_dataset
from slimjax.data.inputs import make_inputs
from slimjax.data.schema import Schema
from slimjax.errors import DataError
from slimjax.text.examples import Example

KINDS = {"image": "image", "label": "label"}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path_factory.mktemp("cache")))


def load(source, kinds=KINDS, **changes):
    shares = dict(valid_fraction=0.25, test_fraction=0.25, tokenizer="bytes")
    config = DataConfig(source=source, **{**shares, **changes})
    return load_labelled_dataset(config, kinds)


def refuse(message, *args, **changes):
    """Asserts that loading ends in one line that matches."""
    with pytest.raises(DataError, match=message) as caught:
        load(*args, **changes)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def write_images(folder, number=24):
    for i in range(number):
        save(folder / f"{i}.png", draw(i))
    return folder


@pytest.mark.parametrize("half", [chr(0xD800), chr(0xDCE9)])
def test_half_a_character_in_a_path_is_named_with_its_line_and_can_be_skipped(
    tmp_path, half
):
    write_images(tmp_path)
    rows = [{"image": f"{i}.png", "label": "ab"[i % 2]} for i in range(24)]
    rows[3]["image"] = f"{half}.png"
    path = write_questions(tmp_path / "q.jsonl", rows)
    refuse(r"q.jsonl, line 4 field image names .*half a character", f"jsonl:{path}")
    found = load(f"jsonl:{path}", on_bad_example="skip")
    assert found.counts["skipped"] == {"not_utf8": 1}


def test_half_a_character_in_a_file_of_coco_is_named(tmp_path):
    write_images(tmp_path)
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(24)]
    images[5]["file_name"] = "\ud800.png"
    notes = [{"image_id": i, "caption": f"image {i}"} for i in range(24)]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"images": images, "annotations": notes}))
    kinds = {"image": "image", "target": "texts"}
    message = r"captions.json, image 6 field image names .*half a character"
    refuse(message, f"coco:{path}", kinds)


@pytest.mark.parametrize("name", [b"caf\xe9", b"dog/caf\xe9", b"dog/caf\xe9.png"])
def test_a_name_that_is_not_utf8_is_named_and_its_images_can_be_skipped(tmp_path, name):
    root = make_folder(tmp_path / "a", 24)
    path = os.fsdecode(os.path.join(os.fsencode(root), name))
    image = root / "dog/001.png"
    if not path.endswith(".png"):
        os.mkdir(path)
        path += "/1.png"
    os.rename(image, path)
    (root / "cat" / os.fsdecode(b"notes.\xe9")).touch()  # Left out, as others are.
    refuse(r"caf.* has a name that is not UTF-8. Rename it\.", f"images:{root}")
    found = load(f"images:{root}", on_bad_example="skip")
    assert found.counts["skipped"] == {"not_utf8": 1}
    assert sum(found.counts["examples"].values()) == 23
    assert " ".join(found.notes).isprintable()


def test_paths_of_items_are_relative_to_the_folder_of_images(tmp_path, monkeypatch):
    save(tmp_path / "in/a.png", draw(0))
    save(tmp_path / "out.png", draw(1))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    names = ["a.png", str(tmp_path / "out.png"), "../out.png", "b.png", "a\0b"]
    config = DataConfig(image_dir=str(tmp_path / "in"))
    read = lambda config: list(
        make_inputs(config, Schema(KINDS), {}, [{"image": name} for name in names])
    )
    found = read(config)
    paths = [one.values["image"].path for one in found[:2]]
    assert paths == [str(tmp_path / "in/a.png"), names[1]]
    assert "../out.png, which leads out of its folder" in found[2].message
    assert f"{tmp_path}/in/b.png, which is not there" in found[3].message
    assert "leads out" in found[4].message
    plain = read(DataConfig())
    assert [isinstance(one, Example) for one in plain] == [
        False,
        True,
        True,
        False,
        False,
    ]
