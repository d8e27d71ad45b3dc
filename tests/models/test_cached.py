"""Law 5: with a cache and frozen weights a model says what it says in one go."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilers import needs_compiler
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import hard_gates, make_variables, models

from slimjax import native
from slimjax.errors import ConfigError
from slimjax.models import LayerConfig, decoder, freeze_decoder
from slimjax.native import library
from slimjax.nn.frozen import FORMATS
from slimjax.nn.positions import RopeScaling
from slimjax.trees import unflatten

KERNELS = [False, pytest.param(True, marks=needs_compiler)]
SMALL = decoder(
    vocab_size=131,
    width=72,
    layers=(LayerConfig(4, 2, 18, 100), LayerConfig(3, 1, 32, 80)),
    attention_impl="reference",
)


@pytest.fixture(params=KERNELS, ids=["xla", "native"])
def kernels(request, monkeypatch):
    """Runs a test without the kernels, then with them on one of the eight devices."""
    if request.param:
        assert library.register()
    monkeypatch.setattr(native, "is_enabled", lambda: request.param)


@jax.jit
def step(model, tokens, positions, cache):
    x, cache = model(tokens, positions, cache)
    return model.logits(x), cache


def logits(config, variables, tokens):
    return config.module().apply(variables, {"tokens": tokens})["tokens"].logits()


def decode(model, tokens, prefix):
    """Returns the logits of all positions, those after the prefix step by step."""
    batch_size, length = tokens.shape
    positions = np.broadcast_to(np.arange(length), tokens.shape)
    cache, outs = model.make_cache(batch_size, length + 3), []
    pieces = [slice(0, prefix), *(slice(t, t + 1) for t in range(prefix, length))]
    for piece in pieces:
        logits, cache = step(model, tokens[:, piece], positions[:, piece], cache)
        outs.append(np.asarray(logits))
    return np.concatenate(outs, 1)


@given(st.data(), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=2)
def check_that_decoding_is_the_full_forward(data, prefix, num_steps):
    config = data.draw(models(max_layers=2))
    gates = unflatten(data.draw(hard_gates(config)))
    variables = make_variables(config)[0] | {"gates": gates}
    tokens = draw_tokens(config, 2, prefix + num_steps)
    expected = logits(config, variables, tokens)
    actual = decode(freeze_decoder(config, variables), tokens, prefix)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.usefixtures("kernels")
def test_decoding_is_the_full_forward_gates_included():
    check_that_decoding_is_the_full_forward()


@pytest.mark.usefixtures("kernels")
def test_decoding_knows_the_epsilon_of_norms_and_slower_angles():
    """A pretrained model has an epsilon of its own; here it is as large as norms."""
    scaling = RopeScaling("llama3", 4.0, length=16)
    layer = LayerConfig(4, 2, 8, 20)
    options = dict(epsilon=0.5, rope_scaling=scaling, embed_scale=1.0)
    config = decoder(31, 12, (layer,) * 2, attention_impl="reference", **options)
    variables, tokens = make_variables(config)[0], draw_tokens(config, 2, 9)
    actual = decode(freeze_decoder(config, variables), tokens, 4)
    expected = logits(config, variables, tokens)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    usual = dataclasses.replace(config.main, epsilon=1e-6, rope_scaling=None)
    other = dataclasses.replace(config, towers=(usual,))
    assert np.abs(logits(other, variables, tokens) - expected).max() > 0.01


def draw_tokens(config, batch_size, length):
    source = np.random.default_rng(0)
    tokens = source.integers(0, config.vocab_size, (batch_size, length), np.int32)
    return jnp.asarray(tokens)


@pytest.mark.usefixtures("kernels")
def test_formats_are_as_exact_as_they_can_be():
    variables, _ = make_variables(SMALL)
    tokens = draw_tokens(SMALL, 4, 43)
    exact, textbook = run_textbook(variables, tokens)
    actual = {
        weights: decode(freeze_decoder(SMALL, variables, weights), tokens, 40)
        for weights in FORMATS
    }
    error = lambda x: np.linalg.norm(x - exact) / np.linalg.norm(exact)
    assert error(actual["float32"]) < 1e-5
    assert error(actual["bfloat16"]) < 2 * error(textbook)
    assert error(actual["int8"]) < 0.03  # A step is 1/127 of the largest number.
    # Targets are what the model itself would say, as for a model that is right.
    draws = np.random.default_rng(1).gumbel(size=exact.shape)
    targets = (exact + draws).argmax(-1)[..., None]
    nats = {name: mean_nats(x, targets) for name, x in actual.items()}
    assert 1.0 < nats["float32"] < 4.8  # Neither sure of itself nor guessing among all.
    assert abs(np.expm1(nats["int8"] - nats["float32"])) < 0.01


def run_textbook(variables, tokens):
    """Returns the logits in float32, and in bfloat16, without kernels."""
    rounded = dataclasses.replace(SMALL, dtype="bfloat16")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "is_enabled", lambda: False)
        runs = (jax.jit(partial(logits, config)) for config in (SMALL, rounded))
        return [np.asarray(run(variables, tokens)) for run in runs]


def mean_nats(logits, targets):
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(scores, targets, -1).mean()


def test_an_unknown_format_is_refused():
    variables, _ = make_variables(SMALL)
    with pytest.raises(ConfigError, match="int8"):
        freeze_decoder(SMALL, variables, "int4")
