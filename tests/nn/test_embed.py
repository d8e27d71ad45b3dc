"""What tables, positions and pooling promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from slimjax.nn.cross_entropy import CLOSED
from slimjax.nn.embed import OutputTable, PositionTable, TiedEmbedding, TypeTable
from slimjax.nn.pooling import Pooler, pool
from slimjax.nn.positions import sinusoids
from slimjax.trees import axis_names

CHANNELS = jnp.array([1.0, 0, 0.5, 1])


def test_closed_tokens_of_a_tied_table_score_nothing_and_take_no_gradient():
    layer, x = TiedEmbedding(7, 4, 2.0), jax.random.normal(jax.random.key(0), (2, 3, 4))
    tokens = jnp.array([[0, 2, 3], [5, 6, 0]])
    variables = nn.meta.unbox(layer.init(jax.random.key(1), tokens, CHANNELS))
    is_open = jnp.arange(7) != 4
    bias = jnp.arange(7.0)

    def logits(table, **more):
        own = {"params": {"embedding": table}}
        return layer.apply(own, x, CHANNELS, **more, method="logits")

    table = variables["params"]["embedding"]
    actual = logits(table, bias=bias, is_open=is_open)
    expected = (x * CHANNELS[None, None]) @ table.T + bias[None, None]
    np.testing.assert_allclose(actual[..., is_open], expected[..., is_open], rtol=1e-5)
    np.testing.assert_array_equal(actual[..., 4], np.float32(CLOSED))
    loss = lambda table: jax.nn.logsumexp(logits(table, is_open=is_open), -1).sum()
    np.testing.assert_array_equal(jax.grad(loss)(table)[4], 0.0)
    options = dict(bias=bias, is_open=is_open, method="scores")
    scores = layer.apply(variables, x, tokens, CHANNELS, **options)
    norm = jax.nn.logsumexp(expected[..., is_open], -1)
    np.testing.assert_allclose(scores.log_norm, norm, rtol=1e-5)


def test_tables_look_up_rows_and_pass_what_the_channels_let_pass():
    positions = jnp.array([[0, 1, 2]])
    layer = PositionTable(5, axis="text_embed", offset=2)
    boxed = layer.init(jax.random.key(0), positions, CHANNELS)
    assert axis_names(boxed)["params"]["table"] == ("places", "text_embed")
    table = nn.meta.unbox(boxed)["params"]["table"]
    assert table.shape == (7, 4)
    out = layer.apply(nn.meta.unbox(boxed), positions, CHANNELS)
    np.testing.assert_allclose(out[0], table[2:5] * CHANNELS[None])
    layer, types = TypeTable(2), jnp.array([[0, 1, 1]])
    boxed = layer.init(jax.random.key(0), types, CHANNELS)
    assert axis_names(boxed)["params"]["table"] == ("types", "embed")
    out = layer.apply(nn.meta.unbox(boxed), types, CHANNELS)
    table = nn.meta.unbox(boxed)["params"]["table"]
    np.testing.assert_allclose(out[0, 2], table[1] * CHANNELS)


@pytest.mark.parametrize("bias", [True, False])
def test_an_output_table_names_its_entries(bias):
    layer = OutputTable(3, "classes", bias=bias)
    boxed = layer.init(jax.random.key(0), 4)
    names = {"table": ("classes", "embed")} | ({"bias": ("classes",)} if bias else {})
    assert axis_names(boxed)["params"] == names
    table, own = layer.apply(nn.meta.unbox(boxed), 4)
    assert table.shape == (3, 4)
    assert (own is not None) == bias


def test_sinusoids_are_the_papers():
    positions = jnp.array([[0, 3, 50]])
    out = sinusoids(positions, 6)
    expected = np.zeros((3, 6))
    for row, t in enumerate([0, 3, 50]):
        for i in range(3):
            angle = t / 10_000.0 ** (2 * i / 6)
            expected[row, 2 * i : 2 * i + 2] = np.sin(angle), np.cos(angle)
    np.testing.assert_allclose(out[0], expected, atol=1e-5)


SEGMENTS = jnp.array([[1, 1, 0], [2, 2, 2], [0, 0, 0]])


@pytest.mark.parametrize("kind", ["first", "mean", "max"])
def test_pooling_counts_no_padding(kind):
    x = jax.random.normal(jax.random.key(0), (3, 3, 4)) - 5.0
    out = pool(x, kind, SEGMENTS)
    own = {"first": lambda v: v[0], "mean": lambda v: v.mean(0)}
    own |= {"max": lambda v: v.max(0)}
    np.testing.assert_allclose(out[0], own[kind](np.asarray(x[0, :2])), rtol=1e-6)
    np.testing.assert_allclose(out[1], own[kind](np.asarray(x[1])), rtol=1e-6)
    if kind != "first":
        np.testing.assert_array_equal(out[2], 0.0)
    slopes = jax.grad(lambda x: pool(x, kind, SEGMENTS).sum())(x)
    assert np.isfinite(slopes).all()
    np.testing.assert_array_equal(slopes[0, 2], 0.0)
    whole = own[kind](np.asarray(x[0]))
    np.testing.assert_allclose(pool(x, kind)[0], whole, rtol=1e-6)


def test_unknown_poolings_are_refused():
    with pytest.raises(ValueError, match="'last' is not a pooling"):
        pool(jnp.ones((1, 2, 3)), "last")


def test_a_pooler_is_its_formula_and_loses_rows_with_channels():
    layer, x = Pooler(5), jax.random.normal(jax.random.key(0), (2, 4))
    boxed = layer.init(jax.random.key(1), x, CHANNELS)
    assert axis_names(boxed)["params"] == {
        "kernel": ("embed", "pooled"),
        "bias": ("pooled",),
    }
    params = {"kernel": jnp.arange(20.0).reshape(4, 5) / 20, "bias": jnp.arange(5.0)}
    out = layer.apply({"params": params}, x, CHANNELS)
    inner = (x * CHANNELS[None]) @ params["kernel"] + params["bias"][None]
    np.testing.assert_allclose(out, np.tanh(inner), rtol=1e-5)
    kept = jnp.array([0, 2, 3])
    small = params | {"kernel": params["kernel"][kept]}
    again = layer.apply({"params": small}, x[:, kept], CHANNELS[kept])
    np.testing.assert_allclose(again, out, rtol=1e-5)
