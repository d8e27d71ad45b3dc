"""What recurrent layers promise: their formulas, no trace of padding, one carry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.nn.cache import CACHE
from slimjax.nn.implementations import CELLS, STATES
from slimjax.nn.recurrent import Recurrent

B, T, D, C = 2, 5, 4, 3


def make(cell, both_ways=False):
    """Returns a layer, its variables (random, gates open) and x [B T D]."""
    layer = Recurrent(C, cell, both_ways=both_ways, norm=None, bias=True)
    draw = np.random.default_rng(0)
    x = jnp.float32(draw.normal(size=(B, T, D)))
    fresh = jax.eval_shape(layer.init, jax.random.key(0), x)
    shapes = jax.tree.map(
        lambda leaf: leaf.value.shape,
        fresh,
        is_leaf=lambda leaf: hasattr(leaf, "value"),
    )
    is_shape = lambda node: isinstance(node, tuple)
    make = lambda shape: jnp.float32(draw.normal(size=shape))
    params = jax.tree.map(make, shapes["params"], is_leaf=is_shape)
    gates = jax.tree.map(jnp.ones, shapes["gates"], is_leaf=is_shape)
    return layer, {"params": params, "gates": gates}, x


def textbook(cell, params, x, way):
    """Returns the states of one row ``[T C]``, in one direction."""
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    W, U = params["reading"][:, way], params["carrying"][:, way]
    b = params["reading_bias"][way]
    h, c, states = np.zeros(C), np.zeros(C), []
    for row in x[::-1] if way else x:
        a = np.einsum("d,dpc->pc", row, W) + b
        u = np.einsum("c,cpe->pe", h, U)
        if cell == "rnn":
            h = np.tanh((a + u)[0])
        elif cell == "gru":
            reset, update = sigmoid(a[0] + u[0]), sigmoid(a[1] + u[1])
            h = (1 - update) * np.tanh(a[2] + reset * u[2]) + update * h
        else:
            i, f, o = (sigmoid(a[k] + u[k]) for k in range(3))
            c = f * c + i * np.tanh(a[3] + u[3])
            h = o * np.tanh(c)
        states.append(h)
    return np.array(states[::-1] if way else states)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both_ways", [False, True])
def test_cells_compute_their_formulas(cell, both_ways):
    layer, variables, x = make(cell, both_ways)
    params = variables["params"]
    out = params["out"]
    for row, actual in zip(x, jax.jit(layer.apply)(variables, x), strict=True):
        ways = range(2 if both_ways else 1)
        states = [textbook(cell, params, row, way) for way in ways]
        expected = sum(s @ out[way] for way, s in zip(ways, states, strict=True))
        np.testing.assert_allclose(actual, expected + params["out_bias"], atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_padding_leaves_no_trace_and_segments_share_no_state(cell):
    layer, variables, x = make(cell, both_ways=True)
    apply = jax.jit(layer.apply)
    alone = [apply(variables, x[:, :2]), apply(variables, x[:, 2:4])]
    segments = jnp.array([[1, 1, 2, 2, 0]] * B)
    together = apply(variables, x, segments=segments)
    np.testing.assert_allclose(together[:, :2], alone[0], atol=1e-6)
    np.testing.assert_allclose(together[:, 2:4], alone[1], atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_past_does_not_see_the_future(cell):
    layer, variables, x = make(cell)
    past = lambda x: layer.apply(variables, x)[:, :-1].sum()
    np.testing.assert_array_equal(jax.jit(jax.grad(past))(x)[:, -1], 0.0)


def test_a_carry_goes_on_where_it_stopped():
    layer, variables, x = make("lstm")
    whole = layer.apply(variables, x)
    zeros = jnp.zeros((B, 1, C))
    cache = {name: zeros for name in STATES["lstm"]}
    parts = []
    for piece in (slice(0, 3), slice(3, 5)):
        own = variables | {CACHE: cache}
        out, changed = layer.apply(own, x[:, piece], mutable=[CACHE])
        parts.append(out)
        cache = changed[CACHE]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-6)
