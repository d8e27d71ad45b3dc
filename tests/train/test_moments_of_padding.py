"""Moments of what writers read: they are those of the text, not of its padding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from shapes import CLASSES, LENGTH, draw_inputs, make_variables

from slimjax.models import BERT, T5, LayerConfig, encoder, encoder_decoder
from slimjax.models.adapters import add_adapters
from slimjax.nn.moments import MOMENTS, note_moments

MORE = 3
"""Positions of padding that are added."""


def moments_of(config, variables, inputs):
    return config.module().apply(variables, inputs, mutable=[MOMENTS])[1][MOMENTS]


def pad(values):
    """Returns rows with more positions, which are padding."""
    return jnp.pad(values, ((0, 0), (0, MORE)))


def make_encoder(cell: str = ""):
    style = dataclasses.replace(BERT, cell=cell, positions="none")
    own = dict(attention=False, state_dim=3) if cell else {}
    layers = (LayerConfig(4, 2, 2, 5, **own),) * 2
    options = dict(heads=CLASSES, style=style, attention_impl="reference")
    return encoder(9, 6, layers, **options)


@pytest.mark.parametrize("cell", ["", "gru", "lstm"])
def test_padding_further_changes_no_moments(cell):
    check(make_encoder(cell))


def test_padding_a_source_changes_no_moments_of_what_reads_it():
    layer = LayerConfig(4, 2, 2, 5, cross_heads=2, cross_kv_heads=1)
    options = dict(encoder_layers=(LayerConfig(4, 2, 2, 5),), style=T5)
    check(encoder_decoder(9, 6, (layer,), attention_impl="reference", **options))


def test_padding_further_changes_no_moments_of_adapters():
    config = make_encoder()
    towers = tuple(add_adapters(tower, ("a", "b"), 2) for tower in config.towers)
    check(dataclasses.replace(config, towers=towers))


def check(config):
    variables, _ = make_variables(config)
    inputs = draw_inputs(config)
    padded_towers = {t.reads for t in config.towers if t.sees_all}
    assert padded_towers
    is_padded = lambda name: name.split("_")[0] in padded_towers
    longer = {n: pad(v) if is_padded(n) else v for n, v in inputs.items()}
    assert all(f"{name}_segments" in inputs for name in padded_towers)
    few = moments_of(config, variables, inputs)
    many = moments_of(config, variables, longer)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)
    jax.tree.map(close, many, few)


class Reader(nn.Module):
    """A module that keeps the moments of what it is given."""

    @nn.compact
    def __call__(self, x, segments=None):
        note_moments(self, "out", x, segments)


def test_without_padding_segments_change_no_bit():
    source = np.random.default_rng(0)
    x = jnp.asarray(source.standard_normal((2, LENGTH, 7)), jnp.float32)
    segments = jnp.asarray(source.integers(1, 4, (2, LENGTH)), jnp.int32)
    note = lambda *given: Reader().apply({}, *given, mutable=[MOMENTS])[1]
    found = note(x), note(x, segments)
    jax.tree.map(np.testing.assert_array_equal, *found)
    rows = np.asarray(x).reshape(-1, 7)
    np.testing.assert_allclose(found[0][MOMENTS]["out"], rows.T @ rows, rtol=1e-5)
