"""Images: every kind of file gives the pixels that a person sees, once for all rows."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import (
    HEIGHT,
    WIDTH,
    draw,
    make_folder,
    save,
    write_idx,
    write_questions,
)
from PIL import Image

from slimjax.data import DataConfig, load_labelled_dataset
from slimjax.data.codecs import load_codecs, save_codecs, sizes_of
from slimjax.data.encoding import encode_examples
from slimjax.data.image_decoding import BadImageError, Fit, decode
from slimjax.data.inputs import (
    check_inputs,
    iterate_inputs,
    make_inputs,
    prepare_inputs,
)
from slimjax.data.schema import Schema
from slimjax.errors import ConfigError, DataError
from slimjax.text.reading import BadDocument
from slimjax.text.source_images import SourceImage, make_picture

KINDS = {"image": "image", "label": "label"}
SPLITS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SLIMJAX_CACHE", str(folder))
    return folder


def read(path, channels=3, how="same", size=(HEIGHT, WIDTH), most=10**6):
    image = SourceImage(str(path), b"")
    return decode(image, Fit(*size, channels, how), most)


def load(source, kinds=KINDS, **changes):
    shares = dict(valid_fraction=0.25, test_fraction=0.25, tokenizer="bytes")
    config = DataConfig(source=source, **{**shares, **changes})
    return load_labelled_dataset(config, kinds)


def grey_of(pixels):
    """Returns luma, ITU-R 601-2, as `Image.convert` documents it."""
    return np.asarray(pixels, np.float64) @ np.array([299, 587, 114]) / 1000


def test_colour_becomes_grey_and_grey_becomes_colour(tmp_path):
    pixels = draw(0)
    path = save(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read(path), pixels)
    grey = read(path, channels=1)
    assert grey.shape == (HEIGHT, WIDTH, 1)
    assert np.abs(grey[..., 0] - grey_of(pixels)).max() <= 1  # Rounded to a byte.
    path = save(tmp_path / "b.png", draw(1, channels=1))
    np.testing.assert_array_equal(read(path), np.repeat(draw(1, channels=1), 3, axis=2))


@pytest.mark.parametrize("channels", [2, 4])
def test_transparent_parts_stand_on_white(tmp_path, channels):
    pixels = draw(2, channels=channels)
    pixels[0, :, -1], pixels[1, :, -1] = 0, 255
    found = read(save(tmp_path / "a.png", pixels))
    colour, alpha = pixels[..., :-1], pixels[..., -1:] / 255
    expected = np.broadcast_to(colour * alpha + 255 * (1 - alpha), found.shape)
    np.testing.assert_array_equal(found[0], 255)
    assert np.abs(found - expected).max() <= 1  # Rounded to a byte.


def test_palettes_have_their_colours_and_their_transparent_one_is_white(tmp_path):
    colours = np.array([[10, 200, 30], [250, 0, 90], [1, 2, 3]], np.uint8)
    numbers = np.random.default_rng(0).integers(0, 3, (HEIGHT, WIDTH)).astype(np.uint8)
    image = Image.fromarray(numbers, mode=None).convert("P")
    image.putdata(numbers.reshape(-1).tolist())
    image.putpalette(colours.reshape(-1).tolist())
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), colours[numbers])
    image.save(tmp_path / "b.png", transparency=1)
    white = np.where((numbers == 1)[..., None], 255, colours[numbers])
    np.testing.assert_array_equal(read(tmp_path / "b.png"), white)


def test_numbers_of_16_bits_lose_their_lower_ones(tmp_path):
    numbers = np.random.default_rng(3).integers(0, 65536, (HEIGHT, WIDTH))
    numbers[0, :2] = 0, 65535
    Image.fromarray(numbers.astype(np.uint16)).save(tmp_path / "a.png")
    found = read(tmp_path / "a.png", channels=1)[..., 0]
    assert found[0, 0] == 0
    assert found[0, 1] == 255
    assert np.abs(found - numbers / 257).max() <= 0.5 + 1e-9


def test_images_are_turned_as_their_exif_data_say(tmp_path):
    pixels = draw(4, WIDTH, HEIGHT)
    for orientation, turned in {
        1: pixels,
        3: pixels[::-1, ::-1],
        6: np.rot90(pixels, -1),
        8: np.rot90(pixels, 1),
    }.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(tmp_path / f"{orientation}.png", pixels, exif=exif.tobytes())
        np.testing.assert_array_equal(read(path, size=turned.shape[:2]), turned)


@pytest.mark.parametrize("how", ["pad", "crop", "stretch"])
def test_other_shapes_are_fitted(tmp_path, how):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 20:] = 200
    found = read(save(tmp_path / "a.png", pixels), how=how, size=(10, 10))
    rows, columns = found[..., 0].mean(1), found[..., 0].mean(0)
    if how == "pad":  # White above and below.
        assert (found[[0, -1]] == 255).all()
        assert (found[4:6, 0] == 0).all()
    else:
        assert np.ptp(rows) == 0
        assert columns[0] == 0
        assert columns[-1] == 200
    with pytest.raises(BadImageError, match=r"40 x 20 pixels, .*image_size"):
        read(tmp_path / "a.png", size=(10, 10))


@pytest.mark.parametrize("suffix", ["gif", "bmp", "tif", "webp", "ppm", "jpg"])
def test_formats_of_files_are_known_by_their_content(tmp_path, suffix):
    pixels = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    save(tmp_path / f"a.{suffix}", pixels)
    path = (tmp_path / f"a.{suffix}").rename(tmp_path / "a")
    assert np.abs(read(path).astype(int) - pixels).max() <= 3  # JPEG is lossy.


def damaged(tmp_path):
    """Returns what is no image, with what a message says of it."""
    whole = save(tmp_path / "whole.png", draw(5, 25, 25)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no image at all")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(np.ones((3, 3), np.float32)).save(tmp_path / "float.tif")
    save(tmp_path / "large.png", draw(6, 30, 40))
    bomb = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "png")
    (tmp_path / "bomb.png").write_bytes(bomb.getvalue())
    return {
        "cut.png": "is damaged: ",
        "text.png": "is not an image that Pillow knows",
        "empty.png": "is not an image that Pillow knows",
        "float.tif": "has numbers that are neither of 8 nor of 16 bits",
        "large.png": "has 40 x 30 pixels, more than config.data.max_pixels=1,000",
        "bomb.png": "has ",
    }


def test_what_is_no_image_is_said_in_a_line(tmp_path):
    for name, problem in damaged(tmp_path).items():
        with pytest.raises(BadImageError) as caught:
            read(tmp_path / name, how="pad", most=1000)
        assert str(caught.value).startswith(problem)
        assert "\n" not in str(caught.value)


def test_a_bomb_is_refused_by_the_limit_that_it_exceeds(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", draw(0, 30, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BadImageError, match=r"^has more pixels than .*max_pixels=150$"):
        read(path, most=150)
    with pytest.raises(BadImageError, match=r"^has more than 200 pixels, the most"):
        read(path, most=10**6)


def test_a_folder_has_a_class_for_each_folder_below_it(tmp_path):
    make_folder(tmp_path / "a", 24)
    save(tmp_path / "a/dog/old/x.png", draw(99))
    (tmp_path / "a/dog/notes.txt").write_text("beside the images")
    for name in ("cat/1.HEIC", "dog/2.heic", "cat/README", "dog/.hidden"):
        (tmp_path / "a" / name).write_bytes(b"not read")
    dataset = load(f"images:{tmp_path / 'a'}")
    left_out = "4 files that are no images by their ending, left out: 2 .heic, 1 "
    assert left_out in " ".join(dataset.notes)
    assert dataset.codecs["label"].names == ("cat", "dog")
    assert sum(dataset.counts["examples"].values()) == 25
    shape = dict(image_height=HEIGHT, image_width=WIDTH, image_channels=3)
    assert shape.items() <= dataset.sizes.items()
    for split in SPLITS:
        batch = dataset.rows(split, np.arange(dataset.num_rows(split)))
        assert batch["image"].dtype == np.uint8
        assert batch["image"].shape[1:] == (HEIGHT, WIDTH, 3)
        bright = batch["image"].mean((1, 2, 3)) > 127
        known = dataset.read_examples()[split]
        old = np.array([e.values["image"].path.endswith("x.png") for e in known])
        expected = [e.values["label"] == "cat" for e in known]
        np.testing.assert_array_equal(bright[~old], np.array(expected)[~old])


def test_an_image_is_stored_once_and_its_questions_are_in_one_split(tmp_path):
    rows = []
    for i in range(12):
        save(tmp_path / f"pictures/{i}.png", draw(i))
        rows += [
            {"image": f"pictures/{i}.png", "text": f"is it {n}?", "label": "ny"[n % 2]}
            for n in range(5)
        ]
    save(tmp_path / "pictures/copy.png", draw(3))  # The same bytes, another name.
    rows.append({"image": "pictures/copy.png", "text": "and this?", "label": "y"})
    path = write_questions(tmp_path / "q.jsonl", rows)
    kinds = {"image": "image", "text": "text", "label": "label"}
    dataset = load(f"jsonl:{path}", kinds)
    assert dataset.tables["image"].shape == (12, HEIGHT, WIDTH, 3)
    seen = {split: set(dataset.splits[split]["image"].tolist()) for split in SPLITS}
    assert sum(map(len, seen.values())) == len(set().union(*seen.values())) == 12
    for split in SPLITS:
        examples = dataset.read_examples()[split]
        pixels = dataset.rows(split, np.arange(len(examples)))["image"]
        for example, found in zip(examples, pixels, strict=True):
            image = Image.open(example.values["image"].path)
            np.testing.assert_array_equal(found, np.asarray(image))
    assert dataset.outline.fields["image"].shape == (HEIGHT, WIDTH, 3)


def test_images_are_decoded_once(tmp_path, monkeypatch, cache):
    make_folder(tmp_path / "a")
    first = load(f"images:{tmp_path / 'a'}")
    (entry,) = cache.glob("images*")
    assert (entry / "pixels.npy").is_file()

    def fail(*_):
        raise AssertionError("An image was decoded again.")

    monkeypatch.setattr("slimjax.data.image_table.decode", fail)
    again = load(f"images:{(tmp_path / 'a').rename(tmp_path / 'b')}")
    assert again.fingerprint == first.fingerprint
    with pytest.raises(AssertionError, match="decoded again"):
        load(f"images:{tmp_path / 'b'}", image_size=4)
    save(tmp_path / "b/cat/000.png", draw(77))
    with pytest.raises(AssertionError, match="decoded again"):
        load(f"images:{tmp_path / 'b'}")


def test_captions_of_coco_belong_to_their_image(tmp_path):
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(9)]
    for i in range(9):
        save(tmp_path / f"train/{i}.png", draw(i))
    captions = [
        {"image_id": i, "id": 9 * n + i, "caption": f"image {i}, {n} "}
        for n in range(2)
        for i in range(9)
    ]
    path = tmp_path / "notes/captions.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"images": images, "annotations": captions}))
    kinds = {"image": "image", "target": "texts"}
    schema = Schema(kinds, prepare=lambda _: [])
    config = DataConfig(source=f"coco:{path}", image_dir=str(tmp_path / "train"))
    columns = iterate_inputs(config, schema, {}, f"coco:{path}")
    found = list(columns)
    assert [e.record["target"] for e in found] == [
        [f"image {i}, 0", f"image {i}, 1"] for i in range(9)
    ]
    assert all(e.values["image"].path.endswith(f"{i}.png") for i, e in enumerate(found))
    bad = list(iterate_inputs(DataConfig(), schema, {}, f"coco:{path}"))
    assert all(isinstance(one, BadDocument) for one in bad)
    assert "0.png, which is not there. Paths are relative to config" in bad[0].message


def test_images_of_idx_files_keep_their_places(tmp_path):
    images, labels = draw(7, 30, 5 * 4, 1)[..., 0].reshape(30, 5, 4), np.arange(30) % 2
    write_idx(tmp_path, "train", images, labels)
    dataset = load(f"idx:{tmp_path}", channels=1)
    found = [
        (row.tobytes(), int(label))
        for split in SPLITS
        for batch in [dataset.rows(split, np.arange(dataset.num_rows(split)))]
        for row, label in zip(batch["image"], batch["label"], strict=True)
    ]
    pairs = zip(images, labels, strict=True)
    assert sorted(found) == sorted((i.tobytes(), int(n)) for i, n in pairs)


def test_images_of_idx_files_are_refused_where_a_model_reads_something_else(tmp_path):
    write_idx(tmp_path, "train", draw(7, 3, 4, 1)[None, ..., 0], np.zeros(1))
    read = lambda kinds: iterate_inputs(
        *(DataConfig(), Schema(kinds), {}, f"idx:{tmp_path}"), where="--input"
    )
    assert len(list(read(KINDS))) == len(list(read({"features": "features"}))) == 1
    for own in ({"text": "text"}, {"image": "image", "text": "text"}):
        with pytest.raises(ConfigError, match=r"^--input=idx:.* this task reads .*tex"):
            list(read(own | {"label": "label"}))


def test_many_columns_are_the_pixels_of_a_square_image(tmp_path):
    pixels, path = draw(8, 20, 9, 1)[..., 0], tmp_path / "a.csv"
    lines = [",".join(map(str, [*row, i % 2])) for i, row in enumerate(pixels)]
    path.write_text("\n".join(lines))
    options = dict(header=False, channels=1)
    fields = {"image": "0:9", "label": 9}
    dataset = load(f"csv:{path}", fields=fields, **options)
    rows = [dataset.rows(s, np.arange(dataset.num_rows(s))) for s in SPLITS]
    found = sorted(row.tobytes() for batch in rows for row in batch["image"])
    assert found == sorted(row.tobytes() for row in pixels)
    assert rows[0]["image"].shape[1:] == (3, 3, 1)
    with pytest.raises(DataError, match="has 8 numbers for an image, which are no sq"):
        load(f"csv:{path}", fields={"image": "0:8", "label": 9}, **options)
    path.write_text("\n".join([lines[0], "300" + lines[1][lines[1].index(",") :]]))
    with pytest.raises(DataError, match="line 2 has numbers for an image that are not"):
        load(f"csv:{path}", fields=fields, **options)


def test_a_finished_model_reads_new_images(tmp_path):
    make_folder(tmp_path / "a", 20)
    dataset = load(f"images:{tmp_path / 'a'}")
    (tmp_path / "codecs").mkdir()
    save_codecs(dataset.codecs, tmp_path / "codecs")
    codecs = load_codecs(tmp_path / "codecs")
    assert {name: c.fingerprint for name, c in codecs.items()} == {
        name: c.fingerprint for name, c in dataset.codecs.items()
    }
    assert dict(sizes_of(codecs)) == dict(dataset.sizes)
    config, schema = DataConfig(), Schema(KINDS)
    columns = prepare_inputs(config, schema, codecs)
    save(tmp_path / "new/a.png", draw(50))
    save(tmp_path / "new/b.png", draw(51, 9, 9))
    (tmp_path / "new/c.png").write_bytes(b"nothing")
    found = list(
        check_inputs(
            columns,
            iterate_inputs(config, schema, codecs, f"images:{tmp_path / 'new'}"),
        )
    )
    assert [type(one).__name__ for one in found] == ["Example", *["BadDocument"] * 2]
    assert "9 x 9 pixels, and the first image has 7 x 5" in found[1].message
    encoded = encode_examples(columns, found[:1])
    np.testing.assert_array_equal(encoded.arrays["image"][0], draw(50))
    items = [{"image": draw(52)}, {"image": str(tmp_path / "new/a.png")}]
    made = list(make_inputs(config, schema, codecs, items))
    encoded = encode_examples(columns, made)
    np.testing.assert_array_equal(encoded.arrays["image"], [draw(52), draw(50)])


@pytest.mark.parametrize("name", ["../out.png", "pictures/../../out.png", "link.png"])
def test_no_path_of_a_row_leads_out_of_its_folder(tmp_path, name):
    save(tmp_path / "out.png", draw(0))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link.png").symlink_to(tmp_path / "out.png")
    path = write_questions(tmp_path / "in/q.jsonl", [{"image": name, "label": "a"}])
    with pytest.raises(DataError, match="which leads out of its folder") as caught:
        load(f"jsonl:{path}")
    assert "q.jsonl, line 1 " in str(caught.value)
    assert load_first(path, image_dir=str(tmp_path)).path.endswith("out.png")


def load_first(path, **options):
    """Returns the image of the first row that has one below another folder."""
    rows = [{"image": "out.png", "label": "a"}]
    write_questions(path, rows)
    config = DataConfig(**options)
    (found,) = iterate_inputs(config, Schema(KINDS), {}, f"jsonl:{path}")
    return found.values["image"]


def test_bad_rows_are_refused_or_counted(tmp_path):
    rows = [{"image": f"{i}.png", "label": "ab"[i % 2]} for i in range(40)]
    for i in range(40):
        save(tmp_path / f"{i}.png", draw(i))
    (tmp_path / "3.png").write_bytes(b"what is this")
    (tmp_path / "4.png").unlink()
    rows[5]["image"] = 7
    path = write_questions(tmp_path / "q.jsonl", rows)
    message = "q.jsonl, line 5 field image names the image .*4.png, which is not there"
    with pytest.raises(DataError, match=message):
        load(f"jsonl:{path}")
    dataset = load(f"jsonl:{path}", on_bad_example="skip")
    reasons = {"bad_image": 1, "no_image": 1, "wrong_type": 1}
    assert dataset.counts["skipped"] == reasons
    again = load(f"jsonl:{path}", on_bad_example="skip")
    assert again.counts["skipped"] == reasons
    assert sum(dataset.counts["examples"].values()) == 37
    save(tmp_path / "4.png", draw(4))
    rows[5]["image"] = "5.png"
    write_questions(path, rows)
    message = "q.jsonl, line 4 has the image .*3.png, which is not an image that Pillow"
    with pytest.raises(DataError, match=message):
        load(f"jsonl:{path}")


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_source_whose_images_are_all_damaged_is_refused(tmp_path, split):
    make_folder(tmp_path / "a", 24)
    for i in range(3):
        (tmp_path / f"b/{'cat' if i else 'dog'}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"b/{'cat' if i else 'dog'}/{i}.png").write_bytes(b"no image" * i)
    own = {f"{split}_source": f"images:{tmp_path / 'b'}", "on_bad_example": "skip"}
    match = rf"^config\.data\.{split}_source=images:.*/b holds no example\. .*3 .*bad_i"
    for _ in range(2):  # Decoded, and found in the cache.
        with pytest.raises(DataError, match=match) as caught:
            load(f"images:{tmp_path / 'a'}", **own)
        assert "\n" not in str(caught.value)
    match = (
        r"None of the 3 images can be read\. .*/cat/1\.png, image 1 has the image .*"
    )
    with pytest.raises(DataError, match=f"{match}, which is not an image that Pillow"):
        load(f"images:{tmp_path / 'b'}", on_bad_example="skip")


def test_folders_that_are_not_what_they_should_be(tmp_path):
    with pytest.raises(DataError, match=r"images:.*nowhere is not a folder"):
        load(f"images:{tmp_path}/nowhere")
    make_folder(tmp_path / "a")
    (tmp_path / "a/owl").mkdir()
    with pytest.raises(DataError, match="is the folder of a class, owl, and holds no"):
        load(f"images:{tmp_path / 'a'}")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        load(f"images:{tmp_path / 'none'}")
    save(tmp_path / "a/owl/1.png", draw(1))
    save(tmp_path / "a/stray.png", draw(2))
    with pytest.raises(DataError, match=r"stray.png.* has no field label"):
        load(f"images:{tmp_path / 'a'}")


def test_a_folder_of_images_may_have_any_sign_in_its_name_and_has_no_field(tmp_path):
    make_folder(tmp_path / "my")
    make_folder(tmp_path / "my#dir", 9)
    found = load(f"images:{tmp_path / 'my#dir'}")
    assert sum(found.counts["examples"].values()) == 9
    with pytest.raises(
        DataError, match=r"my#label is not a folder\. Images have no #f"
    ):
        load(f"images:{tmp_path / 'my#label'}")


def test_links_to_folders_are_followed_unless_they_lead_back(tmp_path):
    make_folder(tmp_path / "a", 12)
    make_folder(tmp_path / "b", 6, classes=("owl",))
    (tmp_path / "a/dog/more").symlink_to(tmp_path / "b/owl")
    found = load(f"images:{tmp_path / 'a'}")
    assert sum(found.counts["examples"].values()) == 12 + 6
    (tmp_path / "b/owl/all").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match=r"more/all leads back to .*a, which it is in"):
        load(f"images:{tmp_path / 'a'}")
    found = load(f"images:{tmp_path / 'a'}", on_bad_example="skip")
    assert found.counts["skipped"] == {"circle": 1}
    assert sum(found.counts["examples"].values()) == 12 + 6


@pytest.mark.parametrize("name", ["", "dog", "dog/old"])
def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch, name):
    root, plain = make_folder(tmp_path / "a"), Path.iterdir
    save(root / "dog/old/x.png", draw(99))

    def iterate(path):
        if path == root / name:  # As for users who may not; an administrator may.
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(Path, "iterdir", iterate)
    with pytest.raises(
        DataError, match=rf"a/?{name} cannot be read: Permission denied"
    ):
        load(f"images:{root}")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("image_size", -1),
        ("image_size", (3,)),
        ("image_size", (0, 4)),
        ("image_size", (3, 4, 5)),
        ("image_size", 10**6),
        ("image_fit", "zoom"),
        ("channels", 2),
        ("max_pixels", 0),
        ("normalize", (0.5, 0.5, 0.5)),
        ("normalize", (0.1, 0.2, 0.3, 1.0, 1.0, 0.0)),
    ],
)
def test_invalid_settings_are_refused_by_name(setting, value):
    with pytest.raises(ConfigError, match=rf"config\.data\.{setting}=.*Set|Known"):
        DataConfig(**{setting: value})


def test_arrays_of_other_kinds_are_no_images():
    assert "not uint8" in make_picture(np.zeros((3, 4)), "x")
    assert "of shape 3 x 4 x 5" in make_picture(np.zeros((3, 4, 5), np.uint8), "x")
    one, other = (make_picture(draw(i), "x") for i in (0, 1))
    assert one.digest != other.digest
    assert one.digest == make_picture(draw(0), "y").digest
    sixteen = make_picture(np.full((2, 2), 65535, np.uint16), "x")
    assert (decode(sixteen, Fit(2, 2, 1, "same"), 10) == 255).all()


def test_text_is_read_without_pillow():
    code = "import slimjax.data.labelled, sys; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
