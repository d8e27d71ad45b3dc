"""What holds for models of several towers, styles and heads."""

import ast
import dataclasses
import doctest
import json
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import CLASSES, draw_inputs, logits_of, make_variables, recipes

import slimjax
from slimjax.errors import ConfigError
from slimjax.models import (
    BERT,
    T5,
    HeadConfig,
    LayerConfig,
    ModelSettings,
    decoder,
    encoder,
    encoder_decoder,
)
from slimjax.models.build import build_model
from slimjax.models.paths import layer_name
from slimjax.models.plain import as_json, from_json
from slimjax.models.runs import Run, scanned_runs, stack, stack_names, unstack
from slimjax.nn.positions import RopeScaling, sinusoids
from slimjax.resize import cut, make_plan
from slimjax.trees import flatten

WIDE, NARROW = LayerConfig(4, 2, 4, 9), LayerConfig(2, 1, 4, 5)
ACROSS = LayerConfig(2, 2, 4, 7, cross_heads=2, cross_kv_heads=1)
TWO_TOWERS = encoder_decoder(
    13,
    8,
    (ACROSS,) * 3,
    encoder_layers=(WIDE, NARROW, NARROW, WIDE, WIDE),
    encoder_width=6,
    attention_impl="reference",
    scan_layers=True,
)


def test_sinusoids_have_the_papers_size_beside_tokens_of_any_scale():
    style = dataclasses.replace(T5, positions="sinusoidal")
    options = dict(style=style, num_positions=5, embed_scale=7.0)
    network = decoder(11, 6, (NARROW,), **options).module()
    tokens = {"tokens": jnp.arange(5)[None]}
    variables = nn.meta.unbox(jax.jit(network.init)(jax.random.key(0), tokens))
    table = variables["params"]["tokens"]["embedding"]
    x, _ = network.apply(variables, tokens, method="begin")
    expected = 7.0 * table[:5] + sinusoids(jnp.arange(5)[None], 6)[0]
    np.testing.assert_allclose(x[0], expected, atol=1e-5)


def test_each_tower_is_stacked_by_its_own_runs():
    runs = scanned_runs(TWO_TOWERS)
    assert runs == (
        Run("encoder", (1, 2)),
        Run("encoder", (3, 4)),
        Run("", (0, 1, 2)),
    )
    variables, names = make_variables(TWO_TOWERS)
    state = {"mu": {"params": variables["params"]}, **variables}
    stacked = stack(state, runs)
    for tree in (stacked["params"], stacked["mu"]["params"]):
        layers = {name for name in tree if name.startswith("layer")}
        assert layers == {"layers_0_2"}
        own = {name for name in tree["encoder"] if name.startswith("layer")}
        assert own == {layer_name(0), "layers_1_2", "layers_3_4"}
    assert stacked["gates"].keys() == variables["gates"].keys()
    shape = stacked["params"]["encoder"]["layers_1_2"]["mlp"]["up"].shape
    assert shape == (2, 6, 5)
    axes = stack_names(names["params"], runs)["encoder"]["layers_1_2"]["mlp"]["up"]
    assert axes == ("layer", "encoder_embed", "mlp")
    jax.tree.map(np.testing.assert_array_equal, unstack(stacked, runs), state)


def test_loops_over_the_layers_of_two_towers_change_no_number():
    variables, _ = make_variables(TWO_TOWERS)
    inputs = draw_inputs(TWO_TOWERS)
    unrolled = dataclasses.replace(TWO_TOWERS, scan_layers=False)
    stacked = stack(variables, scanned_runs(TWO_TOWERS))
    expected = logits_of(unrolled, variables, inputs)["tokens"]
    for form in (variables, stacked):
        actual = logits_of(TWO_TOWERS, form, inputs)["tokens"]
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_norm_of_a_removed_sublayer_stays():
    config = encoder(11, 6, (WIDE,), heads=CLASSES, style=BERT, num_positions=6)
    variables, names = make_variables(config)
    gates = flatten(variables["gates"]) | {(layer_name(0), "mlp", "sublayer"): 0.0}
    plan = make_plan({path: np.asarray(gate) for path, gate in gates.items()})
    small = cut(variables["params"], names["params"], plan)
    assert "mlp" not in small[layer_name(0)]
    assert "mlp_norm" in small[layer_name(0)]
    shapes = config.reshaped(small).abstract_variables()["params"]
    assert flatten(shapes).keys() == flatten(small).keys()


def test_padding_changes_nothing():
    config = encoder(11, 6, (WIDE, NARROW), heads=CLASSES, style=BERT, num_positions=9)
    variables, _ = make_variables(config)
    short = jnp.asarray(np.random.default_rng(0).integers(0, 11, (2, 5)))
    long = jnp.pad(short, ((0, 0), (0, 4)), constant_values=7)
    there = jnp.pad(jnp.ones((2, 5), np.int32), ((0, 0), (0, 4)))
    inputs = {"tokens": long, "tokens_segments": there}
    expected = logits_of(config, variables, {"tokens": short})["label"]
    actual = logits_of(config, variables, inputs)["label"]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_epsilon_of_norms_is_that_of_the_settings():
    """Vectors as small as these are hidden by the usual epsilon."""
    small = ModelSettings(
        kind="encoder", width=6, num_layers=1, num_heads=2, norm_epsilon=1e-12
    )
    config = build_model(small, {"vocab": 11}, CLASSES, {"": 5})
    variables, _ = make_variables(dataclasses.replace(config, dtype="float32"))
    params = jax.tree.map(lambda leaf: 1e-4 * leaf, dict(variables["params"]))
    params["embed_norm"] = variables["params"]["embed_norm"]
    inputs = draw_inputs(config)
    streams = config.module().apply(
        {**variables, "params": params}, inputs, method="streams"
    )
    table, places = params["tokens"]["embedding"], params["positions"]["table"]
    x = np.asarray(table)[inputs["tokens"]] + np.asarray(places)
    x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    own = params["embed_norm"]
    scale, bias = (np.asarray(own[name]) for name in ("scale", "bias"))
    np.testing.assert_allclose(streams[0], x * scale + bias, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("at", ["first", "mean", "max"])
def test_heads_pool_the_last_stream(at):
    head = HeadConfig("label", 4, at=at)
    config = encoder(11, 6, (NARROW,), heads=(head,), style=BERT, num_positions=5)
    variables, _ = make_variables(config)
    inputs = draw_inputs(config)
    streams = config.module().apply(variables, inputs, method="streams")
    x, rows = np.asarray(streams[-1]), []
    for row, there in zip(x, inputs["tokens_segments"] > 0, strict=True):
        pools = {"first": row[0], "mean": row[there].mean(0), "max": row[there].max(0)}
        rows.append(pools[at])
    expected = np.stack(rows) @ variables["params"]["label_head"]["table"].T
    actual = logits_of(config, variables, inputs)["label"]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_dropout_is_drawn_from_its_key_and_off_without_one():
    config = dataclasses.replace(TWO_TOWERS, dropout=0.3)
    variables, _ = make_variables(config)
    inputs = draw_inputs(config)
    apply = partial(config.module().apply, variables, inputs)
    logits = lambda key=None: apply(key)["tokens"].logits()
    one, two = jax.random.key(0), jax.random.key(1)
    np.testing.assert_array_equal(logits(one), logits(one))
    assert np.abs(logits(one) - logits(two)).max() > 1e-3
    plain = logits_of(TWO_TOWERS, variables, inputs)["tokens"]
    np.testing.assert_array_equal(logits(), plain)
    unrolled = dataclasses.replace(config, scan_layers=False).module()
    same = unrolled.apply(variables, inputs, one)["tokens"].logits()
    np.testing.assert_allclose(logits(one), same, atol=1e-5)


def test_the_decoder_sees_its_past_and_all_of_the_source():
    config = dataclasses.replace(TWO_TOWERS, scan_layers=False)
    variables, _ = make_variables(config)
    inputs = draw_inputs(config)
    before = logits_of(config, variables, inputs)["tokens"]
    late = {**inputs, "tokens": inputs["tokens"].at[:, 3].add(1) % 13}
    after = logits_of(config, variables, late)["tokens"]
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    changed = (inputs["source"][0, 4] + 1) % 13
    other = {**inputs, "source": inputs["source"].at[0, 4].set(changed)}
    after = logits_of(config, variables, other)["tokens"]
    assert np.abs(before[0] - after[0]).max(-1).min() > 0
    np.testing.assert_array_equal(before[1], after[1])


@given(recipes())
@settings(max_examples=20)
def test_shapes_survive_being_written_down(config):
    assert from_json(as_json(config), "here") == config
    assert config.with_architecture(config.architecture(), "here") == config
    variables, _ = make_variables(config)
    assert config.reshaped(variables["params"]).reshaped(
        variables["params"]
    ) == config.reshaped(variables["params"])


@pytest.mark.parametrize(
    "changes",
    [{"rope_scaling": RopeScaling("llama3", 8.0)}, {"buckets": (8, 20)}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_a_tuple_or_a_class_is_one_again(changes):
    tower = dataclasses.replace(TWO_TOWERS.towers[0], **changes)
    config = dataclasses.replace(TWO_TOWERS, towers=(tower, *TWO_TOWERS.towers[1:]))
    assert from_json(json.loads(json.dumps(as_json(config))), "here") == config


@given(recipes(), st.integers(0, 9))
@settings(max_examples=10)
def test_fresh_variables_have_the_shapes_that_were_foretold(config, seed):
    boxed = config.abstract_variables()
    made = jax.eval_shape(config.init, jax.random.key(seed))
    shapes = lambda tree: {
        p: (x.names, x.value.shape) for p, x in flatten(tree).items()
    }
    assert shapes(made) == shapes(boxed)


@pytest.mark.parametrize(
    "entries", [[], [{"width": 8}], {"towers": {}}, {"towers": {"": {}, "other": {}}}]
)
def test_an_architecture_of_other_towers_is_refused(entries):
    with pytest.raises(ConfigError, match="here"):
        TWO_TOWERS.with_architecture(entries, "here")


def test_what_is_not_a_model_is_refused():
    for data in ({}, [], {"towers": 3}, {"vocab_size": 3}, None):
        with pytest.raises(ConfigError, match="here"):
            from_json(data, "here")


def test_only_models_know_how_layers_are_called():
    """No text outside of that room begins with the name, examples included."""
    package, wrong = pathlib.Path(slimjax.__file__).parent, []
    parser = doctest.DocTestParser()
    for file in package.rglob("*.py"):
        if file.is_relative_to(package / "models"):
            continue
        trees = [ast.parse(file.read_text(encoding="utf-8"))]
        docs = [
            ast.get_docstring(n)
            for n in ast.walk(trees[0])
            if hasattr(n, "body")
            and isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)
        ]
        for doc in filter(None, docs):
            trees += [ast.parse(example.source) for example in parser.get_examples(doc)]
        for node in (node for tree in trees for node in ast.walk(tree)):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and text.startswith("layer_"):
                wrong.append(f"{file.relative_to(package)}: {text!r}")
    allowed = {"layer_decay", "layer_norm", "layer_output_norm", "layer_types"}
    assert not [place for place in wrong if not any(name in place for name in allowed)]


def test_relative_positions_have_a_table_in_each_layer():
    config = encoder(11, 6, (WIDE, NARROW), heads=CLASSES, style=T5)
    weights = make_variables(config)[0]["params"]
    tables = [
        weights[layer_name(i)]["attention"]["relative"]["table"].shape for i in (0, 1)
    ]
    assert tables == [(32, 4), (32, 2)]
    assert jnp.isfinite(
        logits_of(config, make_variables(config)[0], draw_inputs(config))["label"]
    ).all()
