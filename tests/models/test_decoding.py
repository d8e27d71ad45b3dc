"""Law 5 for models of all kinds: with a cache they compute what they compute whole."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import (
    draw_inputs,
    hard_gates,
    logits_of,
    make_variables,
    recipes,
    trunks,
)

from slimjax.errors import ConfigError
from slimjax.models import BERT, GPT2, LayerConfig, decoder, encoder, freeze_decoder
from slimjax.models.adapters import DOMAIN, add_adapters
from slimjax.models.cached import can_cache, make_cache
from slimjax.models.decoding import DecodingModel
from slimjax.models.reading import count_positions
from slimjax.objective.inventory import take_inventory
from slimjax.objective.size import make_size_fn
from slimjax.trees import count_elements, unflatten

LAYERS = (LayerConfig(4, 2, 4, 9), LayerConfig(2, 1, 2, 5))


def writers(max_layers: int = 2):
    """Draws models that write, of all kinds but the one with kernels of its own."""
    is_writer = lambda config: (
        not (config.main.sees_all or config.main.stem != "tokens" or can_cache(config))
    )
    return recipes(max_layers).filter(is_writer)


def sources_of(config, inputs):
    """Returns what is read beside the text that is written; None if that is nothing."""
    if config.main.memory is None:
        return {DOMAIN: inputs[DOMAIN]} if DOMAIN in inputs else None
    own = config.main.reads, f"{config.main.reads}_segments"
    return {name: x for name, x in inputs.items() if name not in own}


def decode(model, inputs, source, prefix):
    """Returns the logits of all positions, those after the prefix step by step.

    Rows are read with padding behind the prefix, which leaves no trace.
    """
    tokens = inputs["tokens"]
    num_rows, length = tokens.shape

    @jax.jit
    def run(model, tokens, positions, cache):
        x, cache = model(tokens, positions, cache)
        return model.logits(x, cache), cache

    size = max(length, model.most_positions)
    if source is None:
        cache = model.make_cache(num_rows, size)
    else:
        cache = jax.jit(partial(type(model).remember, length=size))(model, source)
    positions = np.broadcast_to(np.arange(length), tokens.shape)
    padded = np.where(positions < prefix, positions, -1)
    logits, cache = run(model, tokens, padded, cache)
    outs = [np.asarray(logits)[:, :prefix]]
    for t in range(prefix, length):
        piece = slice(t, t + 1)
        logits, cache = run(model, tokens[:, piece], positions[:, piece], cache)
        outs.append(np.asarray(logits))
    return np.concatenate(outs, axis=1)


def check_that_decoding_is_the_full_forward(data, config, prefix):
    gates = unflatten(data.draw(hard_gates(config)))
    variables = make_variables(config)[0] | {"gates": gates}
    inputs = draw_inputs(config)
    source = sources_of(config, inputs)
    model = freeze_decoder(config, variables)
    assert isinstance(model, DecodingModel)
    whole = jax.jit(partial(logits_of, config))
    expected = whole(variables, inputs)["tokens"]
    actual = decode(model, inputs, source, prefix)
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@given(st.data(), st.integers(1, 4))
@settings(max_examples=3)
def test_writing_with_a_cache_is_the_whole_forward_pass(data, prefix):
    check_that_decoding_is_the_full_forward(data, data.draw(writers()), prefix)


@given(st.data(), st.integers(1, 4))
@settings(max_examples=3)
def test_each_row_is_written_with_the_adapters_of_its_domain(data, prefix):
    is_writer = lambda c: not c.main.sees_all and c.main.stem == "tokens"
    config = data.draw(trunks().filter(is_writer))
    towers = (add_adapters(tower, ("a", "b"), 2) for tower in config.towers)
    config = dataclasses.replace(config, towers=tuple(towers))
    check_that_decoding_is_the_full_forward(data, config, prefix)


@pytest.mark.slow
@given(st.data(), st.integers(1, 4))
@settings(max_examples=25)
def test_so_it_is_for_many_models(data, prefix):
    check_that_decoding_is_the_full_forward(data, data.draw(writers()), prefix)


@given(writers())
@settings(max_examples=5)
def test_kv_bytes_are_those_of_the_cache_that_is_allocated(config):
    length, source_length = 12, 16
    if config.main.window:
        config = config.with_main(window=0)
    lengths = {"": length, "encoder": source_length, "text": source_length}
    if config.main.memory is not None:
        source = config.by_name[config.main.memory]
        source_length = count_positions(source, config.by_name, lengths)
    inventory = take_inventory(config.abstract_variables(), config.uses(lengths))
    counted = make_size_fn("kv_bytes", inventory)(inventory.open_gates())
    cache = jax.eval_shape(lambda: make_cache(config, 1, length, source_length))
    assert float(counted) * length == pytest.approx(2 * count_elements(cache))


def test_beams_share_the_keys_of_their_source():
    config = decoder(11, 6, LAYERS, style=GPT2, num_positions=9)
    model = freeze_decoder(config, make_variables(config)[0])
    cache = jax.eval_shape(partial(model.make_cache, 2, 5))
    rows = jnp.array([1, 1, 0])
    picked = jax.eval_shape(lambda cache: cache.of_rows(rows), cache)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(picked)} == {3}


def test_open_gates_are_constants_of_the_program():
    config = decoder(11, 6, LAYERS, style=GPT2, num_positions=9)
    variables = make_variables(config)[0]
    assert freeze_decoder(config, variables).gates is None
    half = jax.tree.map(lambda gate: 0.5 * gate, variables["gates"])
    assert freeze_decoder(config, variables | {"gates": half}).gates is not None


def test_what_does_not_write_is_refused():
    config = encoder(11, 6, LAYERS, heads=(), style=BERT, num_positions=6)
    head = dataclasses.replace(config.heads[0], at="mean") if config.heads else None
    assert head is not None
    config = dataclasses.replace(config, heads=(head,))
    with pytest.raises(ConfigError, match="writes no text"):
        freeze_decoder(config, make_variables(config)[0])
    config = decoder(11, 6, LAYERS, style=GPT2, num_positions=6)
    with pytest.raises(ConfigError, match="bfloat16"):
        freeze_decoder(config, make_variables(config)[0], "int8")
