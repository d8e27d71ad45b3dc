"""Questions, captions and translations: runs from image files to answers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from image_files import draw, save, write_questions

import slimjax
from slimjax.cli.main import main
from slimjax.data import DataConfig
from slimjax.errors import ConfigError, DataError
from slimjax.models import ModelSettings
from slimjax.models.build import build_model
from slimjax.models.options import next_token
from slimjax.run.blueprints import make_model
from slimjax.tasks import get, lengths
from slimjax.tasks.pixels import with_pixels
from slimjax.train.config import make_run_config

SLOW = pytest.mark.slow
SIDE = 8
COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (30, 30, 220)}
MODEL = {"width": 16, "num_layers": 1, "num_heads": 2, "mlp_dim": 16}
MODEL |= {"dtype": "float32", "filters": [6], "pools": [4]}
BLOCKS = {
    "data": {"valid_fraction": 0.2, "test_fraction": 0.2, "tokenizer": "bytes"}
    | {"batch_size": 16, "normalize": [0.5, 0.5]},
    "objective": {"strategy": "none"},
    "optim": {"learning_rate": 0.02, "warmup_steps": 5},
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path_factory.mktemp("cache")))


def make_images(folder, number):
    """Writes images of one colour with a little noise, and returns their colours."""
    names = [list(COLOURS)[i % 3] for i in range(number)]
    for i, name in enumerate(names):
        noise = draw(i, SIDE, SIDE) // 8
        pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
        save(folder / f"images/{i}.png", pixels)
    return names


def configure(task, path, steps, **changes):
    blocks = {name: dict(block) for name, block in BLOCKS.items()}
    blocks["data"] |= {"source": f"jsonl:{path}"} | changes.pop("data", {})
    train = {"num_steps": steps, "eval_every_steps": 0}
    return {"task": task, **blocks, "model": MODEL | changes, "train": train}


def metrics_of(report):
    return {metric["key"]: metric["test"] for metric in report["metrics"]}


def ask(names):
    """Returns a question for each colour about each image; its answer is yes or no."""
    return [
        {"image": f"images/{i}.png", "question": f"is it {asked}?"}
        | {"answer": "yes" if asked == name else "no"}
        for i, name in enumerate(names)
        for asked in COLOURS
    ]


@pytest.mark.slow
def test_questions_are_answered_by_what_is_on_the_image(tmp_path):
    names = make_images(tmp_path, 40)
    path = write_questions(tmp_path / "q.jsonl", ask(names))
    seq_len = {"data": {"seq_len": 16}}
    config = configure("image_question", path, 150, kind="fusion", **seq_len)
    report = slimjax.fit(config, tmp_path / "run", quiet=True)
    assert report["error"]["test_accuracy"] > 0.95  # No question is more often yes.
    lines = (tmp_path / "run/predictions-test.jsonl").read_text().splitlines()
    line = json.loads(lines[0])
    assert line["expected"] == {"answer": line["answer"]}
    assert set(line["scores"]) == {"yes", "no"}
    page = (tmp_path / "run/report.html").read_text()
    with np.load(tmp_path / "run/images-test.npz") as file:
        assert file["pixels"].shape[1:] == (SIDE, SIDE, 3)
        assert page.count("<img class='seen'") >= len(file["shown"]) > 0
    assert "is it red?" in page.split("Some examples")[1]
    questions = [
        {"image": str(tmp_path / f"images/{i}.png"), "question": "is it green?"}
        for i in range(3)
    ]
    found = slimjax.load(tmp_path / "run").predict(questions)
    assert [one["prediction"] for one in found] == ["no", "yes", "no"]
    (bad,) = slimjax.load(tmp_path / "run").predict([{"image": "x", "question": "?"}])
    assert "which is not there" in bad["error"]


@SLOW
@pytest.mark.parametrize("inputs", ["text", "image"])
def test_a_control_does_not_see_the_other_input(tmp_path, inputs):
    names = make_images(tmp_path, 30)
    path = write_questions(tmp_path / "q.jsonl", ask(names))
    changes = dict(kind="fusion", inputs=inputs, data={"seq_len": 16})
    config = configure("image_question", path, 3, **changes)
    slimjax.fit(config, tmp_path / "run", quiet=True)
    model = slimjax.load(tmp_path / "run")
    asked = [
        {"image": str(tmp_path / f"images/{i}.png"), "question": f"is it {name}?"}
        for i, name in [(0, "red"), (1, "red"), (0, "blue")]
    ]
    one, other_image, other_text = (x["scores"]["yes"] for x in model.predict(asked))
    assert (one == other_image) == (inputs == "text")
    assert (one == other_text) == (inputs == "image")


@SLOW
def test_captions_are_written_for_images(tmp_path, capsys):
    names = make_images(tmp_path, 40)
    rows = [
        {"image": f"images/{i}.png", "target": [f"it is {name}", f"a {name} square"]}
        for i, name in enumerate(names)
    ]
    path = write_questions(tmp_path / "c.jsonl", rows)
    kind = dict(kind="encoder_decoder", stem="convolution", encoder_layers=1)
    config = configure("caption", path, 120, **kind, data={"seq_len": 16})
    report = slimjax.fit(config, tmp_path / "run", quiet=True)
    assert metrics_of(report)["chrf"] > 90  # Three words have no BLEU.
    out = tmp_path / "out.jsonl"
    (tmp_path / "new.jsonl").write_text('{"image": "images/2.png"}\n')
    command = ["predict", f"--workdir={tmp_path / 'run'}", f"--output={out}"]
    assert main([*command, f"--input=jsonl:{tmp_path / 'new.jsonl'}"]) == 0
    assert json.loads(out.read_text())["prediction"] == "it is blue"
    capsys.readouterr()


WORDS = {"red": "hong", "green": "lv", "blue": "lan"}


@SLOW
def test_an_image_tells_what_a_source_leaves_open(tmp_path):
    names = make_images(tmp_path, 40)
    rows = [
        {"image": f"images/{i}.png", "source": "the thing", "target": WORDS[name]}
        for i, name in enumerate(names)
    ]
    path = write_questions(tmp_path / "t.jsonl", rows)
    kind = dict(kind="encoder_decoder", stem="convolution", encoder_layers=1)
    config = configure("image_translation", path, 120, **kind, data={"seq_len": 12})
    report = slimjax.fit(config, tmp_path / "run", quiet=True)
    assert metrics_of(report)["chrf"] > 80
    asked = {"image": str(tmp_path / "images/1.png"), "source": "the thing"}
    (found,) = slimjax.load(tmp_path / "run").predict([asked])
    assert found["prediction"] == "lv"


@pytest.mark.parametrize("inputs", ["text", "image"])
def test_one_setting_makes_a_control_of_a_translation(inputs):
    plain = dict(kind="encoder_decoder", stem="convolution", encoder_layers=1)
    sizes = dict(vocab=20, image_height=8, image_width=8, image_channels=3)
    settings = ModelSettings(**(MODEL | plain), inputs=inputs)
    lengths = {"": 5, "source": 9}
    model = build_model(settings, sizes, next_token(20, settings.full_style), lengths)
    read = {tower.reads for tower in model.towers if not tower.of}
    assert read == {"text": {"source", "tokens"}, "image": {"image", "tokens"}}[inputs]


@SLOW
@pytest.mark.parametrize("inputs", ["text", "image"])
def test_a_control_of_a_translation_learns_what_its_input_tells(tmp_path, inputs):
    names = make_images(tmp_path, 40)
    other = lambda i: list(COLOURS)[i // 3 % 3]  # What the source says.
    rows = [
        {"image": f"images/{i}.png", "source": f"a {other(i)} thing"}
        | {"target": WORDS[other(i)] if inputs == "text" else WORDS[name]}
        for i, name in enumerate(names)
    ]
    path = write_questions(tmp_path / "t.jsonl", rows)
    kind = dict(kind="encoder_decoder", stem="convolution", encoder_layers=1)
    kind |= dict(inputs=inputs)
    config = configure("image_translation", path, 120, **kind, data={"seq_len": 20})
    report = slimjax.fit(config, tmp_path / "run", quiet=True)
    assert metrics_of(report)["chrf"] > 80
    asked = {"image": str(tmp_path / "images/1.png"), "source": "a blue thing"}
    (found,) = slimjax.load(tmp_path / "run").predict([asked])
    assert found["prediction"] == {"text": "lan", "image": "lv"}[inputs]


def test_what_a_model_reads_of_a_row_of_each_task():
    special = {"pad": 0, "bos": 1, "eos": 2, "source_pad": 0}
    batch = {
        "image": jnp.zeros((2, 4, 4, 3), jnp.uint8),
        "tokens": jnp.array([[5, 2, 0], [6, 7, 2]]),
        "source": jnp.array([[1, 8, 2], [1, 2, 0]]),
        "answer": jnp.array([1, -1]),
    }
    read = {
        name: with_pixels(get(name).make_task(special), ()).inputs(batch, None)
        for name in ("image_question", "caption", "image_translation")
    }
    assert set(read["image_question"]) == {
        *("image", "features", "tokens", "tokens_segments", "tokens_types")
    }
    np.testing.assert_array_equal(read["caption"]["tokens"], [[1, 5, 2], [1, 6, 7]])
    assert set(read["caption"]) == {"image", "tokens"}
    assert set(read["image_translation"]) == {
        *("image", "source", "source_segments", "tokens")
    }
    target = get("image_question").make_task(special).targets(batch, None)["answer"]
    np.testing.assert_array_equal(target.weight, [1.0, 0.0])
    assert lengths("caption", {"seq_len": 9}) == {"": 9}
    both = lengths("image_translation", {"seq_len": 9, "target_len": 5})
    assert both == {"": 5, "source": 9}


def test_an_answer_that_training_lacks_is_refused_by_its_place(tmp_path):
    names = make_images(tmp_path, 12)
    path = write_questions(tmp_path / "q.jsonl", ask(names))
    rows = [{"image": "images/0.png", "question": "why?", "answer": "who knows"}]
    write_questions(tmp_path / "t.jsonl", rows)
    load = get("image_question").load
    settings = dict(source=f"jsonl:{path}", test_source=f"jsonl:{tmp_path}/t.jsonl")
    message = r"t\.jsonl, line 1 has the answer who knows, which no example of the tr"
    with pytest.raises(DataError, match=message):
        load(DataConfig(**settings, tokenizer="bytes"))
    skipped = load(DataConfig(**settings, tokenizer="bytes", on_bad_example="skip"))
    assert skipped.counts["skipped"] == {"unknown_label": 1}
    # Its questions about an image of the test split have left the training split.
    seen = {split: set(skipped.splits[split]["image"].tolist()) for split in ("train",)}
    assert len(seen["train"]) < 12


@pytest.mark.parametrize(
    ("task", "model", "unread", "fitting"),
    [
        ("image_question", dict(kind="encoder"), "pictures", "fusion"),
        ("image_question", dict(kind="encoder", stem="patches"), "texts", "fusion"),
        ("image_question", dict(kind="mlp"), "texts", "fusion"),
        ("caption", dict(kind="decoder"), "pictures", "encoder_decoder"),
        ("caption", dict(kind="encoder", stem="patches"), "texts", "encoder_decoder"),
    ],
)
def test_a_model_that_leaves_an_input_unread_is_refused_with_one_that_fits(
    tmp_path, task, model, unread, fitting
):
    names = make_images(tmp_path, 12)
    rows = [row | {"target": row["question"]} for row in ask(names)]
    path = write_questions(tmp_path / "q.jsonl", rows)
    run = make_run_config(configure(task, path, 3, **model, patch_size=4))
    data = get(task).load(run.data)
    message = rf"does not read the {unread} of .* Set config.model.kind='{fitting}' and"
    with pytest.raises(ConfigError, match=message) as caught:
        make_model(run, data.outline)
    assert "\n" not in str(caught.value)
    stem = {"kind": fitting, "stem": "convolution"}
    mended = make_run_config(configure(task, path, 3, **stem))
    assert make_model(mended, data.outline).towers
    if fitting == "fusion":
        alone = make_run_config(configure(task, path, 3, **stem, inputs="image"))
        assert make_model(alone, data.outline).towers


def test_one_row_is_for_texts_alone():
    with pytest.raises(ConfigError, match=r"config\.data\.one_row=True .* no images"):
        get("image_translation").schema(DataConfig(one_row=True))


def test_strides_must_divide_the_sides_of_images(tmp_path):
    names = make_images(tmp_path, 12)
    path = write_questions(tmp_path / "q.jsonl", ask(names))
    config = configure("image_question", path, 3, kind="fusion")
    config["model"] |= {"pools": [3]}
    with pytest.raises(ConfigError, match=r"pools.* does not divide 8 x 8"):
        slimjax.fit(config, tmp_path / "run", quiet=True)
    assert not jax.tree.leaves(list((tmp_path / "run").glob("checkpoints/*")))
