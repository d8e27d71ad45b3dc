"""From settings to shapes: kinds, styles, and what is refused."""

import pytest

from slimjax.errors import ConfigError
from slimjax.models import BERT, LLAMA, T5, HeadConfig, ModelSettings
from slimjax.models.build import build_model
from slimjax.models.recipes import decoder

SIZES, LENGTHS = {"vocab": 50, "features": 7, "classes": 3}, {"": 16, "encoder": 24}
LABEL = (HeadConfig("label", 3, at="first", bias=True),)


def small(**settings) -> ModelSettings:
    return ModelSettings(width=8, num_heads=2, num_layers=2, mlp_dim=6, **settings)


def test_the_default_is_a_decoder_of_the_llama_style():
    settings = small(dtype="float32")
    layer = build_model(settings, 50).layers[0]
    assert build_model(settings, SIZES, lengths=LENGTHS) == decoder(50, 8, (layer,) * 2)
    assert settings.full_style == LLAMA


def test_each_kind_has_a_style_that_settings_change():
    assert small(kind="encoder").full_style == BERT
    assert small(kind="encoder_decoder").full_style == T5
    style = small(kind="encoder", style="vit", mlp="relu", tied=True).full_style
    assert (style.mlp, style.tied, style.sees) == ("relu", True, "all")
    assert style.positions == "learned"


def test_an_encoder_has_a_row_for_each_position_and_pools():
    model = build_model(
        small(kind="encoder", token_types=2, window=4), SIZES, LABEL, LENGTHS
    )
    assert model.main.num_positions == 24
    assert model.main.sees_all
    assert (model.main.window, model.main.token_types) == (4, 2)
    assert model.heads[0].at == "first"
    assert build_model(small(), SIZES, LABEL, LENGTHS).heads[0].at == "mean"
    pooled = build_model(small(kind="encoder", pooler=True), SIZES, LABEL, LENGTHS)
    assert [m.heads[0].pooler for m in (model, pooled)] == [0, 8]


def test_an_encoder_decoder_has_two_towers():
    settings = small(kind="encoder_decoder", encoder_layers=3)
    source, main = build_model(settings, SIZES, lengths=LENGTHS).towers
    assert (source.name, main.name, main.memory) == ("encoder", "", "encoder")
    assert len(source.layers) == 3
    assert source.axis == main.axis
    assert source.sees_all
    assert not main.sees_all
    assert all(layer.cross for layer in main.layers)
    wide = build_model(
        small(kind="encoder_decoder", encoder_width=12), SIZES, lengths=LENGTHS
    )
    assert [tower.width for tower in wide.towers] == [12, 8]
    assert len({tower.axis for tower in wide.towers}) == 2


def test_a_perceptron_reads_features():
    model = build_model(ModelSettings(kind="mlp", width=9, mlp="relu"), SIZES, LABEL)
    assert (model.width, model.main.num_inputs, model.layers) == (9, 7, ())
    assert model.main.activation == "relu"


def test_a_table_that_is_not_tied_is_the_heads_own():
    model = build_model(small(tied=False), SIZES, lengths=LENGTHS)
    assert model.heads[0].table == "own"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(kind="decodr"), "Did you mean decoder"),
        (dict(style="lama"), "Did you mean llama"),
        (dict(norm="rsm"), "Did you mean rms"),
        (dict(norm_at="end"), "config.model.norm_at='end'"),
        (dict(mlp="gated_rleu"), "Did you mean gated_relu"),
        (dict(positions="absolute"), "config.model.positions='absolute'"),
        pytest.param(
            dict(bias="yes"),
            "config.model.bias='yes' must be true, false",
            marks=pytest.mark.wrong_types,
        ),
        (dict(kind="encoder", sees="past"), "Did you mean config.model.kind='decoder'"),
        (dict(kind="mlp", mlp="swiglu"), "is not an activation"),
        (dict(stem="features"), "config.model.stem='features'"),
        (dict(encoder_layers=2), "config.model.encoder_layers=2 is for"),
        (dict(pool="first"), "sees only itself. Did you mean 'mean'"),
        (dict(dropout=1.0), "config.model.dropout=1.0"),
        (dict(window=-1), "config.model.window=-1"),
        (dict(head_dim=3), "must be even"),
        (dict(num_kv_heads=3), "must be a multiple"),
        (
            dict(kind="encoder", positions="relative", relative_buckets=3),
            "must be 4 or more",
        ),
        (dict(positions="relative", relative_distance=16), "must be above 16"),
        (
            dict(kind="encoder", positions="relative", relative_distance=8),
            "must be above 8",
        ),
        (dict(kind="encoder_decoder", relative_distance=16), "must be above 16"),
    ],
)
def test_what_no_model_has_is_refused_in_a_line(settings, message):
    with pytest.raises(ConfigError, match=r"config\.model") as error:
        ModelSettings(**settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_heads_of_any_width_are_taken_where_positions_are_not_rotary():
    assert ModelSettings(head_dim=3, positions="learned").full_style.norm == "rms"
