"""What a decoder promises, ragged or not."""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import make_variables, models

from slimjax.errors import ConfigError
from slimjax.models import LayerConfig, ModelSettings, decoder
from slimjax.models.architecture import parse_architecture
from slimjax.models.build import build_model

RAGGED = decoder(
    13,
    8,
    (LayerConfig(4, 2, 4, 9), LayerConfig(0, 0, 4, 5, attention=False)),
)


def logits(config, variables, tokens):
    return config.module().apply(variables, {"tokens": tokens})["tokens"].logits()


def nats_of(config, variables, inputs, targets):
    readouts = config.module().apply(variables, {"tokens": inputs})
    return readouts["tokens"].scores(targets).nats


@pytest.fixture(scope="module")
def variables():
    return make_variables(RAGGED)[0]


def test_shapes_are_traced_once_and_cannot_be_changed(monkeypatch):
    first, again = RAGGED.abstract_variables(), RAGGED.abstract_variables()
    assert jax.tree.structure(first) == jax.tree.structure(again)
    first["params"]["layer_0"].clear()
    first["params"].clear()
    monkeypatch.setattr(jax, "eval_shape", None)
    assert RAGGED.abstract_variables() == again
    wider = RAGGED.with_main(width=9)
    with pytest.raises(TypeError):
        wider.abstract_variables()


def test_what_comes_later_changes_nothing_before(variables):
    tokens = jnp.array([[3, 1, 4, 1, 5, 9]])
    apply = jax.jit(partial(logits, RAGGED))
    before = apply(variables, tokens)
    after = apply(variables, tokens.at[0, 4].set(12))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.abs(before[:, 4] - after[:, 4]).max() > 0


def test_rows_of_a_batch_do_not_see_each_other(variables):
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 13, (3, 6)))
    apply = jax.jit(partial(logits, RAGGED))
    together = apply(variables, tokens)
    for row, expected in zip(tokens, together, strict=True):
        np.testing.assert_allclose(apply(variables, row[None])[0], expected, atol=1e-5)


def test_nats_are_the_cross_entropy_of_the_logits(variables):
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, 13, (2, 7)))
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    whole = logits(RAGGED, variables, inputs)
    nats = nats_of(RAGGED, variables, inputs, targets)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(whole), targets[..., None], -1)
    np.testing.assert_allclose(nats, -chosen[..., 0], atol=1e-5)


@given(models(), st.integers(0, 9))
@settings(max_examples=20)
def test_an_architecture_survives_being_written_down(config, seed):
    variables, _ = make_variables(config, seed)
    assert config.with_architecture(config.architecture(), "here") == config
    elsewhere = config.with_main(width=99)
    assert elsewhere.with_architecture(config.architecture(), "here") == config
    read = config.reshaped(variables["params"])
    flags = lambda layers: [(layer.attention, layer.mlp) for layer in layers]
    assert flags(read.layers) == flags(config.layers)
    assert read.reshaped(variables["params"]) == read


@pytest.mark.parametrize(
    "entries",
    [
        [],
        {},
        [3],
        [{"num_heads": 2}],
        [dataclasses.asdict(LayerConfig(4, 2, 4, 8)) | {"more": 1}],
        [dataclasses.asdict(LayerConfig(4, 3, 4, 8))],
        [dataclasses.asdict(LayerConfig(4, 2, 3, 8))],
        [dataclasses.asdict(LayerConfig(4, 2, 4, 0))],
        [dataclasses.asdict(LayerConfig(4, 2, 4, 8)) | {"mlp_dim": "x"}],
        [dataclasses.asdict(LayerConfig(4, 2, 4, 8)) | {"mlp": "yes"}],
    ],
)
def test_what_is_no_architecture_is_refused_by_its_place(entries):
    with pytest.raises(ConfigError, match="here"):
        parse_architecture(entries, "here")


def test_sizes_that_are_left_out_are_derived():
    settings_ = ModelSettings(width=24, num_heads=6, num_layers=2, mlp_dim=5)
    assert build_model(settings_, 7).layers == (LayerConfig(6, 6, 4, 5),) * 2


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_remat_changes_no_number(remat, variables):
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 13, (2, 9)))

    def pull(config):
        def error(variables):
            return nats_of(config, variables, tokens, tokens).mean()

        return jax.jit(jax.value_and_grad(error))(variables)

    plain, changed = pull(RAGGED), pull(dataclasses.replace(RAGGED, remat=remat))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(changed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_layers_of_one_shape_are_traced_once():
    def count(num_layers):
        layers = (LayerConfig(2, 1, 4, 6),) * num_layers
        config = RAGGED.with_main(layers=layers)
        variables = nn.meta.unbox(config.abstract_variables())
        tokens = jax.ShapeDtypeStruct((1, 9), jnp.int32)
        text = jax.jit(partial(logits, config)).lower(variables, tokens).as_text()
        return text.count("dot_general")

    assert count(24) == count(6)
