"""A run that starts from the weights of another one, for any task."""

import json
import shutil

import jax
import numpy as np
import pytest
from finished_runs import make_perceptron
from folders import SLIM, make_folder
from recipe_runs import OF_TEXTS, write_examples, write_start

from slimjax import tasks
from slimjax.config import override, read_config
from slimjax.data.codecs import load_codecs
from slimjax.data.scaling import Scaling
from slimjax.errors import ConfigError
from slimjax.generate.model import load
from slimjax.run import loop
from slimjax.run.blueprints import make_blueprint
from slimjax.run.init_shape import input_codecs, take_shape
from slimjax.run.init_weights import describe_start, take_weights
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.store.run_folder import RunFolder
from slimjax.tasks import classification
from slimjax.train.config import make_run_config
from slimjax.train.stage import make_stage
from slimjax.trees import flatten
from slimjax.tune.arms import Arm, check_arm
from slimjax.tune.equal import scale


class Killed(BaseException):
    """Stands for the power cut."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("source") / "lm")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "reviews.jsonl"
    lines = [{"text": f"{i} {i % 3}", "label": "ab"[i % 2]} for i in range(60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def make_config(reviews, source, *changes):
    config = dict(
        task="classification",
        data=dict(source=f"jsonl:{reviews}", seq_len=16, batch_size=8),
        model=dict(init_from=source),
        objective=dict(strategy="none"),
        optim=dict(learning_rate=1e-2, warmup_steps=0),
        train=dict(num_steps=6, eval_every_steps=0, save_every_steps=2),
        mesh=dict(data=1),
    )
    config["data"] |= dict(fields=dict(text="text", label="label"))
    config["data"] |= dict(valid_fraction=0.2, test_fraction=0.2)
    return override(config, changes)


def begin(reviews, source, *changes):
    """Returns weights at the start, and the record, of a run that never begins."""
    run = take_shape(make_run_config(make_config(reviews, source, *changes)))
    data = classification.load(run.data)
    return take_weights(make_stage(make_blueprint(run, data.outline)), data)


def test_the_trunk_is_that_of_the_folder_and_the_head_is_fresh(reviews, source):
    params, record = begin(reviews, source)
    theirs, own = flatten(load(source).params["params"]), flatten(params["params"])
    heads = {path for path in own if path[0] == "label_head"}
    assert own.keys() - heads == {p for p in theirs if p[0] != "tokens_head"}
    for path in own.keys() - heads:
        expected = theirs[path][:16] if path[0] == "positions" else theirs[path]
        np.testing.assert_array_equal(own[path], expected)
    assert own[("label_head", "table")].shape == (2, 10)
    assert record["fresh"] == ["label_head"]
    assert record["left_out"] == ["tokens_head"]
    assert record["taken"] == len(own) - len(heads)
    assert f"{record['taken']} arrays are taken over" in describe_start(record)
    assert jax.tree.all(jax.tree.map(lambda g: bool((g == 1).all()), params["gates"]))


@pytest.mark.parametrize(
    ("names", "is_taken"), [(("a", "b"), True), (("b", "a"), False)]
)
def test_a_head_is_taken_over_with_the_same_labels_alone(
    reviews, tmp_path, names, is_taken
):
    folder = make_folder(tmp_path / "run", "classification", names)
    params, record = begin(reviews, folder)
    theirs = load(folder).params["params"]["label_head"]["table"]
    same = np.array_equal(params["params"]["label_head"]["table"], theirs)
    assert same == is_taken
    assert record["fresh"] == ([] if is_taken else ["label_head"])


def test_features_are_scaled_as_they_were(tmp_path):
    scaling = Scaling(3, scale=0.5, shift=-1.0)
    folder = make_perceptron(tmp_path / "run", scaling)
    path = tmp_path / "points.csv"
    rows = [f"{i},{i % 5},{7 * i % 3},{'ab'[i % 2]}" for i in range(40)]
    path.write_text("\n".join(["x,y,z,label", *rows]) + "\n")
    fields = dict(features=["x", "y", "z"], label="label")
    data = dict(source=f"csv:{path}", batch_size=4, fields=fields)
    config = dict(task="classification", data=data, model=dict(init_from=folder))
    config["mesh"] = dict(data=1)
    run = take_shape(make_run_config(config))
    data = classification.load(run.data, codecs=input_codecs(run))
    assert data.codecs["features"] == scaling
    assert (run.model.kind, run.model.mlp, run.model.width) == ("mlp", "relu", 5)
    _, record = take_weights(make_stage(make_blueprint(run, data.outline)), data)
    assert record["fresh"] == []


@pytest.mark.parametrize("task", OF_TEXTS)
def test_the_recipe_of_finetuning_fits_every_task(task, tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    writes = task in ("seq2seq", "chat")
    small = [("model.width", "8"), ("model.num_layers", "1"), ("model.mlp_dim", "8")]
    before = override(read_config("denoise" if writes else "mlm"), small)
    write_start(tmp_path / "start", make_run_config(before))
    own = {
        "task": task,
        "model.init_from": str(tmp_path / "start"),
        "data.source": write_examples(tmp_path / "examples.jsonl", task),
    }
    changed = override(read_config("finetune"), [*own.items()])
    run = take_shape(make_run_config(changed))
    data = tasks.get(task).load(run.data, head=run.head)
    model = make_blueprint(run, data.outline).model
    assert model.main.width == 8
    assert len(model.towers) == 1 + writes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("model.width", "16"), r"config.model.width=16, but .* has 12\."),
        (("model.kind", "encoder"), r"config.model.kind='encoder', but .*'decoder'"),
        (("model.norm", "rms"), r"config.model.norm='rms', but .* has 'layer'\."),
        (("model.widht", "16"), r"config.model.widht=16 is not a setting. Did you"),
        (("model.dropout", "2"), r"config.model.dropout=2.0 must be"),
        (("data.vocab_size", "300"), r"vocab_size=300, but .* has 259 tokens"),
        (("data.tokenizer", "sentencepiece"), "is another tokenizer than that of"),
        (("data.seq_len", "25"), "seq_len=25 is more than the 24 positions"),
        (("model.init_from", "nowhere"), "'nowhere' is not the folder of a run"),
        (("train.continue_from", "other"), "exclude each other"),
    ],
)
def test_a_stated_setting_that_differs_is_refused(reviews, source, change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        take_shape(make_run_config(make_config(reviews, source, change)))
    assert "\n" not in str(caught.value)


def test_a_run_that_has_begun_does_not_start_from_elsewhere(reviews, source, tmp_path):
    folder = RunFolder(make_folder(tmp_path / "run"))
    (folder.root / "checkpoints" / "00000001.00").mkdir(parents=True)
    (folder.root / "checkpoints" / "00000001.00" / "manifest.json").touch()
    with pytest.raises(ConfigError, match="has weights of its own") as caught:
        take_shape(make_run_config(make_config(reviews, source)), folder)
    assert "\n" not in str(caught.value)


def test_stated_settings_that_agree_and_those_of_training_are_accepted(reviews, source):
    stated = [
        ("model.width", "12"),
        ("model.num_kv_heads", "0"),
        ("model.norm", "layer"),
    ]
    stated += [("data.tokenizer", "bytes"), ("model.dropout", "0.5")]
    run = take_shape(make_run_config(make_config(reviews, source, *stated)))
    assert (run.model.dropout, run.model.dtype) == (0.5, "float32")
    assert (run.data.vocab_size, run.model.architecture) == (259, SLIM)
    again = take_shape(make_run_config(run.as_dict()))
    assert again.as_dict() == run.as_dict()
    same = [*stated, ("data.tokenizer", f"{source}/tokenizer")]
    other = take_shape(make_run_config(make_config(reviews, source, *same)))
    assert other.as_dict() == run.as_dict()


def test_a_sweep_checks_and_scales_such_a_run(reviews, source):
    config = make_config(reviews, source, ("model.dropout", "0.2"))
    check_arm(Arm("dropout", {}, config), (0, 1), None)
    scaled = take_shape(make_run_config(scale(config, 3)))
    assert (scaled.train.num_steps, scaled.model.dropout) == (3, 0.2)
    wrong = Arm("width", {}, override(config, [("model.width", "9")]))
    with pytest.raises(ConfigError, match=r"arm width: config.model.width=9"):
        check_arm(wrong, (0,), None)


def test_a_run_goes_on_when_the_folder_that_it_came_from_is_gone(
    reviews, tmp_path, monkeypatch
):
    folder = make_folder(tmp_path / "source")
    run = make_run_config(make_config(reviews, folder))

    def fit(workdir):
        with Display(quiet=True) as display:
            return train(run, workdir, display=display)

    whole = fit(tmp_path / "whole")
    assert whole["init_from"]["fresh"] == ["label_head"]
    assert whole["size"]["params_start"] == whole["size"]["params"]
    passed = iter(range(100))

    def kill(name):
        if name == "step" and next(passed) == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", kill)
        with pytest.raises(Killed):
            fit(tmp_path / "killed")
    shutil.rmtree(folder)
    resumed = fit(tmp_path / "killed")
    assert resumed["train"]["restarts"] == 1
    for key in ("state_hash", "config_hash", "init_from"):
        assert resumed[key] == whole[key]
    assert load_codecs(tmp_path / "killed" / "tokenizer").keys() >= {"tokens", "label"}
    assert load(tmp_path / "killed").config.layers[1].mlp_dim == 0
