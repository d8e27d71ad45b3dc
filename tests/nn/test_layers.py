"""What layers promise, whatever their weights are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from slimjax.nn.attention import Attention
from slimjax.nn.gates import NESTED, axis_gates, nest
from slimjax.nn.mlp import MLP
from slimjax.nn.norm import RMSNorm
from slimjax.nn.positions import rotate, rotation_table

ATTENTION = Attention(num_heads=6, num_kv_heads=2, head_dim=4, impl="reference")
POSITIONS = jnp.arange(10).reshape(2, 5) % 5


@pytest.fixture(scope="module")
def inputs():
    """Returns x [B=2 T=5 D=8], and variables of attention and of an MLP."""
    x = jax.random.normal(jax.random.key(0), (2, 5, 8))
    attention = nn.meta.unbox(ATTENTION.init(jax.random.key(1), x, POSITIONS))
    mlp = nn.meta.unbox(MLP(7).init(jax.random.key(2), x))
    return x, attention, mlp


def test_the_past_does_not_see_the_future(inputs):
    x, variables, _ = inputs
    past = lambda x: ATTENTION.apply(variables, x, POSITIONS)[:, :-1].sum()
    np.testing.assert_array_equal(jax.grad(past)(x)[:, -1], 0.0)


def test_a_closed_head_neither_speaks_nor_learns(inputs):
    x, variables, _ = inputs
    gates = variables["gates"] | {"heads": jnp.array([1.0, 0, 1, 1, 1, 1])}

    def total(params):
        return ATTENTION.apply({"params": params, "gates": gates}, x, POSITIONS).sum()

    grads = jax.grad(total)(variables["params"])
    np.testing.assert_array_equal(grads["query"][:, 1], 0.0)
    np.testing.assert_array_equal(grads["out"][1], 0.0)
    assert np.abs(grads["out"][0]).max() > 0


def test_closing_a_group_closes_its_heads(inputs):
    x, variables, _ = inputs
    by_group = variables["gates"] | {"kv_heads": jnp.array([1.0, 0.0])}
    by_heads = variables["gates"] | {"heads": jnp.array([1.0, 1, 1, 0, 0, 0])}
    one = ATTENTION.apply(variables | {"gates": by_group}, x, POSITIONS)
    other = ATTENTION.apply(variables | {"gates": by_heads}, x, POSITIONS)
    np.testing.assert_array_equal(one, other)


def test_a_closed_sublayer_adds_nothing(inputs):
    x, _, variables = inputs
    gates = variables["gates"] | {"sublayer": jnp.zeros(())}
    np.testing.assert_array_equal(MLP(7).apply(variables | {"gates": gates}, x), 0)


def test_a_gate_on_weights_equals_a_gate_on_activations(inputs):
    x, _, variables = inputs
    gates = jnp.linspace(0.0, 1.0, 7)
    actual = MLP(7).apply(variables | {"gates": variables["gates"] | {"mlp": gates}}, x)
    p = variables["params"]
    y = RMSNorm().apply({"params": p["norm"]}, x)
    hidden = jax.nn.silu(y @ p["gate"]) * (y @ p["up"]) * gates.reshape(1, 1, -1)
    np.testing.assert_allclose(actual, hidden @ p["down"], atol=1e-6)


def test_rms_norm_is_its_formula_and_ignores_scale():
    x = np.random.default_rng(0).standard_normal((3, 8))
    layer = RMSNorm(epsilon=0.0)
    scale = np.arange(1.0, 9.0)
    actual = layer.apply({"params": {"scale": jnp.asarray(scale)}}, jnp.asarray(x))
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True)) * scale
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    doubled = layer.apply({"params": {"scale": jnp.asarray(scale)}}, jnp.asarray(2 * x))
    np.testing.assert_allclose(doubled, actual, rtol=1e-5)


def test_rotations_keep_lengths_and_depend_on_distance_only():
    query, key = np.random.default_rng(1).standard_normal((2, 1, 1, 1, 6))

    def score(i: int, j: int) -> float:
        turn = lambda x, t: rotate(x, rotation_table(jnp.array([[t]]), 6, 100.0))
        return float((turn(jnp.asarray(query), i) * turn(jnp.asarray(key), j)).sum())

    assert score(3, 1) == pytest.approx(score(12, 10), rel=1e-4)
    turned = rotate(jnp.asarray(query), rotation_table(jnp.array([[5]]), 6, 100.0))
    assert float((turned**2).sum()) == pytest.approx((query**2).sum(), rel=1e-5)


def test_a_gate_governs_its_axis_in_its_module_and_below():
    gates = {("a", "mlp"): np.array([1.0, 0.0]), ("kv_heads",): np.array([1.0, 0.0])}
    assert axis_gates(("a", "b", "up"), "mlp", 2, gates) is gates["a", "mlp"]
    assert axis_gates(("c", "up"), "mlp", 2, gates) is None
    heads = axis_gates(("c", "query"), "heads", 4, gates)
    np.testing.assert_array_equal(heads, [1, 1, 0, 0])
    assert NESTED["heads"] == "kv_heads"
    np.testing.assert_array_equal(nest(None, np.ones(2), 6), np.ones(6))
