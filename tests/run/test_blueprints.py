"""A model must fit its task and its data: what does not ends in one line."""

import pytest

from slimjax.data.dataset import Field, Outline
from slimjax.errors import ConfigError
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
