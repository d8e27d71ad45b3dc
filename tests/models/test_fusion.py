"""Models of pictures and texts: the six steps, their controls, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shapes import draw_inputs, logits_of, make_variables

from slimjax.errors import ConfigError
from slimjax.models import (
    HeadConfig,
    LayerConfig,
    ModelSettings,
    Parts,
    captioner,
    fusion,
)
from slimjax.models.build import build_model
from slimjax.nn.pictures import Picture, Stage

LAYER = LayerConfig(2, 1, 4, 5)
ACROSS = LayerConfig(0, 0, 4, 5, attention=False, cross_heads=2, cross_kv_heads=1)
PARTS = Parts(5, (), 6, (LAYER,), (ACROSS,), 7, (LAYER,))
ANSWER = (HeadConfig("answer", 3, at="mean"),)
PICTURE = Picture(8, 4, 3, (Stage(4, pool=2),))
MODEL = fusion(
    *(11, PARTS),
    heads=ANSWER,
    picture=PICTURE,
    attention_impl="reference",
    num_positions=9,
)
SIZES = dict(vocab=11, classes=3, image_height=8, image_width=4, image_channels=3)
SMALL = dict(num_heads=2, mlp_dim=6, filters=(4,), num_layers=1)


def run_tower(name, variables, inputs, *sources, memory=None):
    """Returns the last stream of a tower, run by itself, as others read it."""
    from slimjax.models.context import Context
    from slimjax.models.tower import Tower

    tower, own = MODEL.by_name[name], variables["params"]
    own = own[name] if name else own
    gates = variables["gates"].get(name, {}) if name else variables["gates"]
    axes = tuple(MODEL.by_name[n].axis for n in tower.of)
    axis = MODEL.by_name[tower.memory].axis if tower.memory else ""
    module = Tower(tower, MODEL.compute, axis, axes, parent=None)
    channels = variables["gates"][tower.axis]
    context = None
    if memory is not None:
        context = Context(None, None, memory=memory)
    variables = {"params": own, "gates": gates}
    streams = module.apply(variables, inputs, channels, context, sources=sources)
    return module.apply(variables, streams[-1], channels, method="finish")


def test_the_answer_is_that_of_the_six_steps_one_after_the_other():
    variables, _ = make_variables(MODEL)
    inputs = draw_inputs(MODEL)
    del inputs["tokens_segments"]
    i = run_tower("image", variables, inputs)
    l = run_tower("text", variables, inputs)
    m = run_tower("mixed", variables, inputs, l, memory=i)
    s = run_tower("", variables, inputs, m, i)
    assert (i.shape, l.shape, m.shape) == ((2, 8, 5), (2, 6, 6), (2, 6, 7))
    assert s.shape == (2, 6 + 8, 7)
    table = variables["params"]["answer_head"]["table"]
    expected = s.mean(1) @ table.T
    actual = logits_of(MODEL, variables, inputs)["answer"]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_padding_of_a_text_changes_no_answer():
    variables, _ = make_variables(MODEL)
    inputs = draw_inputs(MODEL)
    short = {"image": inputs["image"], "tokens": inputs["tokens"][:, :4]}
    expected = logits_of(MODEL, variables, short)["answer"]
    there = jnp.broadcast_to(jnp.arange(6) < 4, (2, 6)).astype(jnp.int32)
    padded = {**inputs, "tokens_segments": there}
    actual = logits_of(MODEL, variables, padded)["answer"]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_an_answer_depends_on_the_picture_and_on_the_text_of_its_row_alone():
    variables, _ = make_variables(MODEL)
    inputs = draw_inputs(MODEL)
    before = logits_of(MODEL, variables, inputs)["answer"]
    for name in ("image", "tokens"):
        other = {**inputs, name: inputs[name].at[0].set(inputs[name][0][::-1])}
        after = logits_of(MODEL, variables, other)["answer"]
        assert np.abs(before[0] - after[0]).max() > 1e-4
        np.testing.assert_array_equal(before[1], after[1])


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ("both", ["image", "text", "mixed", ""]),
        ("image", ["image", ""]),
        ("text", ["text", ""]),
    ],
)
def test_a_control_is_one_setting(inputs, names):
    settings = ModelSettings("fusion", 8, inputs=inputs, image_width=4, **SMALL)
    config = build_model(settings, SIZES, ANSWER, {"": 6})
    assert [tower.name for tower in config.towers] == names
    variables, _ = make_variables(config)
    read = draw_inputs(config)
    out = jax.eval_shape(lambda: logits_of(config, variables, read))
    assert out["answer"].shape == (2, 3)


def test_an_encoder_of_pictures_may_have_no_layers():
    options = SMALL | dict(num_layers=0, image_norm="group")
    settings = ModelSettings("encoder", 8, stem="convolution", **options)
    config = build_model(settings, SIZES, ANSWER, {})
    assert config.num_layers == 0
    assert not set(config.abstract_variables()["params"]) - {
        "convolution",
        "positions",
        "answer_head",
    }


@pytest.mark.parametrize("lengths", [{"": 6}, {"": 6, "source": 5}])
def test_captions_are_written_for_a_picture_or_for_both(lengths):
    settings = ModelSettings(
        "encoder_decoder", 8, stem="patches", patch_size=2, encoder_width=6, **SMALL
    )
    config = build_model(settings, SIZES, (), lengths)
    memory = "fused" if "source" in lengths else "image"
    assert config.main.memory == memory
    alone = dataclasses.replace(settings, inputs="image")
    assert build_model(alone, SIZES, (), lengths).main.memory == "image"


def test_widths_of_streams_are_their_own_and_survive_a_change_of_shape():
    config = captioner(
        *(11, 9, (dataclasses.replace(LAYER, cross_heads=1, cross_kv_heads=1),)),
        PARTS,
        picture=PICTURE,
        source_vocab_size=8,
    )
    widths = {tower.axis: tower.width for tower in config.towers}
    assert widths == dict(image_embed=5, text_embed=6, fused_embed=7, embed=9)
    variables, _ = make_variables(config)
    assert config.reshaped(variables["params"]) == config


def test_what_only_a_fusion_has_is_refused_elsewhere():
    with pytest.raises(ConfigError, match=r"config\.model\.inputs='text' is for"):
        ModelSettings("encoder", inputs="text")
    with pytest.raises(ConfigError, match=r"config\.model\.inputs='sound' is unknown"):
        ModelSettings("fusion", inputs="sound")
    with pytest.raises(ConfigError, match=r"config\.model\.stem='tokens'.*convolution"):
        ModelSettings("fusion", stem="tokens")
    with pytest.raises(ConfigError, match=r"config\.model\.copies=True.*pictures"):
        ModelSettings("encoder_decoder", stem="patches", copies=True)
