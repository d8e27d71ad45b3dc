"""A model must fit its task and its data: what does not ends in one line."""

import dataclasses

import pytest

from slimjax.data.dataset import Field, Outline
from slimjax.data.labels import Labels
from slimjax.errors import ConfigError
from slimjax.models.config import HeadSettings
from slimjax.run.blueprints import READS, expected_blueprint, make_model
from slimjax.train.config import make_run_config

SHAPE = dict(width=16, num_layers=1, num_heads=2, mlp_dim=8)
TEXT = Outline(
    fields={"tokens": Field((8,), "int32", ("positions",))},
    sizes={"vocab": 300, "classes": 3},
    lengths={"": 8},
    special={"pad": 0, "bos": 1, "eos": 2},
)
NUMBERS = Outline(
    fields={"features": Field((5,), "float32", (None,))},
    sizes={"features": 5, "classes": 3},
    lengths={},
    special={},
)


def make_run(task: str, **model):
    return make_run_config({"task": task, "model": SHAPE | model})


@pytest.mark.parametrize("model", [dict(kind="encoder"), dict(sees="all")], ids=str)
def test_no_model_that_sees_the_next_token_predicts_it(model):
    with pytest.raises(ConfigError, match="already sees it") as caught:
        expected_blueprint(make_run("lm", **model))
    assert "config.model.kind='decoder'" in str(caught.value)


def test_smoothing_is_for_one_class_among_several():
    classes = make_run("classification", kind="encoder")
    for name in ("label_smoothing", "z_loss"):
        train = dataclasses.replace(classes.train, **{name: 0.1})
        assert make_model(dataclasses.replace(classes, train=train), TEXT).heads
        many = dataclasses.replace(TEXT, sizes={"vocab": 300, "labels": 3})
        with pytest.raises(ConfigError, match=rf"config\.train\.{name}=0\.1 is for"):
            make_model(dataclasses.replace(classes, train=train), many)


@pytest.mark.parametrize(
    ("task", "kind"),
    [("classification", "encoder"), ("mlm", "encoder"), ("lm", "decoder")],
)
def test_only_a_text_that_is_predicted_as_a_whole_has_a_description_length(task, kind):
    run = make_run(task, kind=kind)
    bits = dataclasses.replace(run.objective, report_in="bits")
    run = dataclasses.replace(run, objective=bits)
    if task == "lm":
        assert make_model(run, TEXT).heads
        return
    with pytest.raises(ConfigError, match=r"report_in='bits'.*'lm'") as caught:
        make_model(run, TEXT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "kind", "outline", "missing"),
    [
        ("lm", "mlp", TEXT, "features"),
        ("lm", "encoder_decoder", TEXT, "source"),
        ("classification", "mlp", TEXT, "features"),
        ("classification", "encoder_decoder", TEXT, "source"),
        ("classification", "encoder", NUMBERS, "tokens"),
        ("classification", "decoder", NUMBERS, "tokens"),
    ],
)
def test_a_model_reads_what_the_data_have(task, kind, outline, missing):
    with pytest.raises(ConfigError, match=f"have no {missing}\\.") as caught:
        make_model(make_run(task, kind=kind), outline)
    assert "\n" not in str(caught.value)
    offered = str(caught.value).rpartition("have no")[2]
    assert any(known in offered for known in READS if known != kind)


@pytest.mark.parametrize(
    ("task", "kind", "outline"),
    [
        ("lm", "decoder", TEXT),
        ("classification", "decoder", TEXT),
        ("classification", "encoder", TEXT),
        ("classification", "mlp", NUMBERS),
    ],
)
def test_models_that_fit_are_built(task, kind, outline):
    assert make_model(make_run(task, kind=kind), outline).heads


LABELS = Labels(["bad", "good", "fair"], [6, 2, 4])
LABELLED = dataclasses.replace(TEXT, codecs={"label": LABELS})


def test_classes_weigh_what_the_config_says_and_one_in_the_mean():
    def weights(**head):
        run = make_run("classification", kind="encoder")
        run = dataclasses.replace(run, head=HeadSettings(**head))
        return make_model(run, LABELLED).heads[0]

    assert weights().weights == ()
    balanced = weights(class_weights="balanced").weights
    assert balanced == pytest.approx((12 / 18, 12 / 6, 12 / 12))
    given = weights(class_weights={"good": 3.0}, focal_gamma=2.0)
    assert given.focal_gamma == 2.0
    assert given.weights == pytest.approx((12 / 16, 36 / 16, 12 / 16))
    with pytest.raises(ConfigError, match=r"config\.head\.class_weights.*goood"):
        weights(class_weights={"goood": 3.0})


@pytest.mark.parametrize(
    "head",
    [
        {"class_weights": "equal"},
        {"class_weights": {"a": 0}},
        {"focal_gamma": -1.0},
        {"temperature": 0.0},
    ],
    ids=str,
)
def test_weights_that_are_none_are_refused(head):
    with pytest.raises(ConfigError, match=r"config\.head\."):
        make_run_config({"task": "classification", "head": head})


def test_what_has_no_classes_has_no_weights_of_them():
    run = make_run_config({"head": {"class_weights": "balanced"}})
    with pytest.raises(ConfigError, match="'lm' has none"):
        expected_blueprint(run)
