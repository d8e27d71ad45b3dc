"""Data sets of TensorFlow Datasets: found on disk, read and prepared without it."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from slimjax.cli.main import main
from slimjax.data import DataConfig, load_labelled_dataset
from slimjax.data.inputs import iterate_inputs
from slimjax.data.schema import Schema
from slimjax.errors import ConfigError, DataError
from slimjax.text.corpus import check_field, iterate_documents
from slimjax.text.records import Format
from slimjax.text.sources import parse_source
from slimjax.text.tfds_folder import find_prepared
from slimjax.text.tfds_records import convert


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """Returns a folder of data sets: reviews in two versions, glue in two configs."""
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    put(tmp_path, "reviews/1.2.0")
    put(tmp_path, "reviews/1.10.0", splits=("train", "validation"))
    put(tmp_path, "glue/sst2/2.0.0")
    put(tmp_path, "glue/cola/2.0.0")
    put(tmp_path, "wiki/raw/1.0.0", splits=("all",))
    put(tmp_path, "old/1.0.0", file_format="tfrecord")
    return tmp_path


def put(root, name, splits=("train", "test"), file_format="array_record"):
    folder = root / name
    folder.mkdir(parents=True)
    known = [{"name": s, "numBytes": "900", "shardLengths": ["4", "3"]} for s in splits]
    info = {"fileFormat": file_format, "splits": known}
    (folder / "dataset_info.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("reviews", "reviews/1.10.0"),
        ("reviews:1.2.0", "reviews/1.2.0"),
        ("glue/sst2", "glue/sst2/2.0.0"),
        ("wiki[all]", "wiki/raw/1.0.0"),
    ],
)
def test_the_newest_version_is_found_or_the_one_that_is_named(directory, name, folder):
    assert find_prepared(name, str(directory)).folder == directory / folder


def test_the_environment_says_where_data_sets_are(directory, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(directory))
    (part,) = parse_source("tfds:reviews:1.2.0").find_files()
    assert part.path == str(directory / "reviews/1.2.0")
    assert part.files == [f"{part.path}/dataset_info.json"]


@pytest.mark.parametrize(
    ("name", "asked", "role", "split"),
    [
        ("reviews", "", "train", "train"),
        ("reviews", "", "valid", "validation"),
        ("glue/sst2", "", "test", "test"),
        ("reviews", "train[:10%]", "test", "train[:10%]"),
    ],
)
def test_a_role_has_the_split_of_its_name(directory, name, asked, role, split):
    assert find_prepared(name, str(directory)).choose_split(asked, role) == split


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("review", "tfds:review is not prepared.* Did you mean reviews?"),
        (
            "reviews:3.0.0",
            "tfds:reviews:3.0.0 is not prepared. There is 1.2.0, 1.10.0.",
        ),
        ("glue", "tfds:glue needs a config. Known: cola, sst2."),
        ("glue/mnli", "tfds:glue/mnli is not prepared"),
        ("old", "tfds:old is prepared as tfrecord only, not array_record."),
    ],
)
def test_what_is_not_there_is_one_short_line(directory, name, message):
    with pytest.raises(DataError, match=message.replace("?", r"\?")) as caught:
        find_prepared(name, str(directory))
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)
    near = directory.parent / "x"
    with pytest.raises(DataError) as caught:
        find_prepared("nothing", str(near))
    command = "Run: slimjax prepare --tfds_builder=MODULE --output="
    assert len(str(near)) > 60 or command in str(caught.value)


def test_the_command_that_prepares_is_part_of_the_line():
    with pytest.raises(DataError) as caught:
        find_prepared("reviews", "/no/data")
    assert str(caught.value) == (
        "tfds:reviews is not prepared in /no/data. Run: slimjax prepare "
        "--tfds_builder=MODULE --output=/no/data"
    )


COMMAND = "Run: slimjax prepare --tfds_builder=MODULE --output="


def check_line(error):
    """Raises unless an error is one short line that ends with the command."""
    assert len(str(error)) < 200
    assert "\n" not in str(error)
    assert COMMAND in str(error)


def test_a_split_that_is_not_there_is_refused(directory):
    found = find_prepared("reviews", str(directory))
    message = r"tfds:reviews has no split test\. It has train, validation\. Name one"
    with pytest.raises(DataError, match=message) as caught:
        dataclasses.replace(found, root=Path("data")).choose_split("", "test")
    check_line(caught.value)
    assert str(caught.value).endswith(f"{COMMAND}data")
    with pytest.raises(DataError, match="has no split test") as caught:
        found.choose_split("", "test")
    check_line(caught.value)
    names = [f"split_{i}" for i in range(40)]
    splits = [{"name": name} for name in names]
    many = dataclasses.replace(found, info={"splits": splits})
    with pytest.raises(DataError, match="has no split train") as caught:
        many.choose_split("", "train")
    check_line(caught.value)
    with pytest.raises(DataError, match="has no split train"):
        find_prepared("wiki", str(directory)).choose_split("", "train")
    with pytest.raises(DataError, match="has no split dev"):
        found.choose_split("dev[:5]", "train")


class Rows(list):
    """Stands for what the library reads."""

    def __getitems__(self, numbers):
        """Returns some of the examples."""
        return [self[number] for number in numbers]


@pytest.fixture
def library(monkeypatch):
    """Stands for the library; all data sets hold the same three examples."""
    rows = Rows({"text": f"{i}".encode(), "stars": b"ab"[i % 2 :]} for i in range(3))
    builder = SimpleNamespace(
        info=SimpleNamespace(features={"text": None, "stars": None}),
        as_data_source=lambda _: rows,
    )
    module = SimpleNamespace(builder_from_directory=lambda _: builder)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("on_bad_example", ["error", "skip"])
def test_a_field_that_is_not_there_is_one_short_line(directory, on_bad_example):
    schema = Schema({"text": "text", "label": "label"})
    own = dict(tfds_dir=str(directory), on_bad_example=on_bad_example)
    own |= dict(fields={"label": "star"})
    config = DataConfig("tfds:reviews", tokenizer="bytes", **own)
    message = r"^tfds:reviews has no field star\. Did you mean stars\? Run: "
    with pytest.raises(DataError, match=message) as caught:
        load_labelled_dataset(config, schema)
    check_line(caught.value)


@pytest.mark.usefixtures("library")
def test_a_field_of_the_inputs_that_is_not_there_is_refused_at_once(directory):
    source, schema = "tfds:reviews", Schema({"text": "text", "label": "label"})
    config = DataConfig(tfds_dir=str(directory), fields={"text": "body"})
    with pytest.raises(DataError, match="tfds:reviews has no field body") as caught:
        iterate_inputs(config, schema, {}, source)
    check_line(caught.value)
    found = iterate_inputs(dataclasses.replace(config, fields={}), schema, {}, source)
    assert [example.values["text"] for example in found] == ["0", "1", "2"]
    style = Format(tfds_dir=str(directory))
    with pytest.raises(DataError, match="tfds:reviews has no field body") as caught:
        list(iterate_documents(f"{source}#body", style=style))
    check_line(caught.value)


@pytest.mark.usefixtures("library")
def test_a_text_names_images_of_the_data_set_or_of_their_folder_alone(
    directory, tmp_path_factory
):
    outside, schema = tmp_path_factory.mktemp("pictures"), Schema({"image": "image"})
    for name in ("0", "1"):
        (outside / name).write_bytes(b"an image")
    (directory / "reviews/1.10.0/0").write_bytes(b"an image")
    (directory / "reviews/1.10.0/1").symlink_to(outside / "1")

    def read(**changes):
        config = DataConfig(
            tfds_dir=str(directory), fields={"image": "text"}, **changes
        )
        return list(iterate_inputs(config, schema, {}, "tfds:reviews"))

    inside, linked, missing = read()
    assert inside.values["image"].path == str(directory / "reviews/1.10.0/0")
    assert "names 1, which leads out of its folder" in linked.message
    assert "2, which is not there" in missing.message
    one, two, _ = read(image_dir=str(outside))
    paths = [found.values["image"].path for found in (one, two)]
    assert paths == [str(outside / "0"), str(outside / "1")]


@pytest.mark.parametrize("name", ["", "a b", "a/b/c", "a:1.0", "../a", "a[train"])
def test_a_source_needs_a_name(name):
    with pytest.raises(ConfigError, match=r"Write tfds:NAME\[/CONFIG\]\[:VERSION\]"):
        parse_source(f"tfds:{name}")


def test_the_text_of_a_data_set_is_its_field_text():
    check_field("tfds:wiki", "")
    assert parse_source("tfds:wiki/raw:1.0.0[all]#body").field == "body"


def test_values_become_what_a_json_file_would_hold():
    label = SimpleNamespace(int2str=lambda i: ["neg", "pos"][i])
    image = SimpleNamespace(encoding_format="png")
    features = {
        "text": None,
        "label": label,
        "tags": SimpleNamespace(feature=label),
        "answers": SimpleNamespace(feature={"text": None, "answer_start": None}),
        "spans": None,
        "image": image,
        "value": None,
    }
    example = {
        "text": "café".encode(),
        "label": np.int64(1),
        "tags": np.array([0, 1]),
        "answers": {
            "text": np.array([b"a", b"b"], object),
            "answer_start": np.array([3, 5]),
        },
        "spans": np.array([[0, 1], [2, 3]]),
        "value": np.float32(0.5),
    }
    assert convert(example, features) == {
        "text": "café",
        "label": "pos",
        "tags": ["neg", "pos"],
        "answers": {"text": ["a", "b"], "answer_start": [3, 5]},
        "spans": [[0, 1], [2, 3]],
        "value": 0.5,
    }
    assert convert({"label": np.int64(-1)}, features) == {"label": None}
    pixels = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    np.testing.assert_array_equal(convert(pixels, image), pixels)


def test_without_the_library_one_line_names_the_extra(directory, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    source = parse_source("tfds:reviews")
    style = Format(tfds_dir=str(directory))
    (part,) = source.find_files(style)
    with pytest.raises(ConfigError, match=r"pip install 'slimjax\[tfds\]'"):
        list(source.read_records(part, style))
    assert main(["prepare", "--tfds_builder=a", f"--output={directory}"]) == 2
    assert "pip install 'slimjax[tfds]'" in capsys.readouterr().err


BUILDER = """
import tensorflow_datasets as tfds

WORDS = {"good": "fine bright", "bad": "dull poor"}

class Reviews(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        names = tfds.features.ClassLabel(names=["bad", "good"])
        features = {"text": tfds.features.Text(), "stars": names}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        starts = {"train": 0, "test": 200}
        return {name: self._generate_examples(start) for name, start in starts.items()}

    def _generate_examples(self, start):
        for i in range(start, start + 200):
            name = "good" if i % 2 else "bad"
            yield i, {"text": f"{i} {WORDS[name]}", "stars": name}
"""


def write_package(folder, **modules):
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


@pytest.mark.slow
def test_a_builder_is_prepared_and_trained_from(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_package(tmp_path / "mine", reviews=BUILDER)
    out, run = tmp_path / "data", tmp_path / "run"
    argv = ["prepare", "--tfds_builder=mine.reviews", f"--output={out}"]
    assert main([*argv, "--json"]) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done["source"] == "tfds:reviews"
    assert done["splits"] == {"train": 200, "test": 200}
    assert main(argv) == 0  # It is there already.
    settings = dict(
        source="tfds:reviews", test_source="tfds:reviews", tfds_dir=out, seq_len=24
    )
    settings |= dict(tokenizer="bytes", fields='{"label":"stars"}', batch_size=8)
    train = ["train", "--config=classification", f"--workdir={run}"]
    train += [f"--config.data.{name}={value}" for name, value in settings.items()]
    train += ["--config.model.width=16", "--config.train.num_steps=40"]
    train += ["--config.resize.first_step=20", "--config.resize.every_steps=10"]
    train += ["--config.optim.warmup_steps=2"]
    assert main(train) == 0
    report = json.loads((run / "report.json").read_text())
    assert report["data"]["examples_test"] == 200
    assert report["data"]["examples_train"] + report["data"]["examples_valid"] == 200
    labels = json.loads((run / "tokenizer/labels.json").read_text())
    assert labels["labels"] == ["bad", "good"]
    code = "import sys; import mine.reviews; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_a_builder_that_fails_is_one_line(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.chdir(tmp_path)
    bad = BUILDER.replace("Reviews", "Broken").replace("WORDS[name]", "WORDS[0]")
    write_package(tmp_path / "other", bad=bad, none="x = 1", broken="x = ")
    for name, message in (
        ("other.bad", "--tfds_builder=other.bad fails: bad.py, line 23: KeyError: 0"),
        ("other.none", "must hold one builder of TensorFlow Datasets; it holds none"),
        ("other.nothing", "--tfds_builder=other.nothing is not a module"),
        ("other.broken", "--tfds_builder=other.broken fails: "),
        ("other", "must be a module in a package"),
        ("other.bad:Broke", "no builder Broke. Did you mean Broken?"),
    ):
        argv = ["prepare", f"--tfds_builder={name}", f"--output={tmp_path}/data"]
        assert main(argv) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert message in error
