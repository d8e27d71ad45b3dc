"""What MLPs of every kind promise."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from slimjax.nn.activations import FUNCTIONS, activate
from slimjax.nn.implementations import ACTIVATIONS
from slimjax.nn.mlp import MLP
from slimjax.trees import axis_names

ERF = np.vectorize(math.erf)
FORMULAS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + ERF(x / 2**0.5)),
    "gelu_tanh": lambda x: (
        0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
    ),
    "relu": lambda x: np.maximum(x, 0),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "none": lambda x: x,
}


def draw(layer, batch=(2, 20), width=6):
    """Returns x, and the layer's variables with every number drawn."""
    x = jax.random.normal(jax.random.key(0), (*batch, width))
    boxed = layer.init(jax.random.key(1), x)
    source = np.random.default_rng(2)
    redraw = lambda p: jnp.asarray(0.5 * source.standard_normal(p.shape), jnp.float32)
    variables = nn.meta.unbox(boxed)
    params = jax.tree.map(redraw, variables["params"])
    return x, variables | {"params": params}, boxed


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_their_formulas(name):
    assert set(FUNCTIONS) == set(ACTIVATIONS)
    x = np.linspace(-4, 4, 33, dtype=np.float32)
    expected = FORMULAS[name](x.astype(np.float64))
    np.testing.assert_allclose(activate(jnp.asarray(x), name), expected, atol=1e-6)


def test_unknown_activations_are_refused():
    with pytest.raises(ValueError, match="'swish2' is not an activation"):
        activate(jnp.ones(2), "swish2")


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["silu", "gelu"])
def test_an_mlp_is_its_formula_whatever_its_gates(gated, bias, name):
    layer = MLP(7, gated=gated, activation=name, bias=bias, norm=None)
    x, variables, _ = draw(layer)
    units, whole = jnp.linspace(0.0, 1.0, 7), jnp.asarray(0.7)
    channels = jnp.array([1.0, 0, 1, 0.5, 1, 1])
    gates = {"mlp": units, "sublayer": whole}
    actual = layer.apply(variables | {"gates": gates}, x, channels)
    p = {k: np.asarray(v, np.float64) for k, v in variables["params"].items()}
    assert ("down_bias" in p) == ("up_bias" in p) == bias
    assert ("gate_bias" in p) == (bias and gated)
    y, act = np.asarray(x, np.float64), FORMULAS[name]
    up = y @ p["up"] + p.get("up_bias", 0)
    hidden = act(y @ p["gate"] + p.get("gate_bias", 0)) * up if gated else act(up)
    out = (hidden * np.asarray(units)) @ p["down"] + p.get("down_bias", 0)
    expected = out * 0.7 * np.asarray(channels)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gated", [True, False])
def test_closed_units_and_channels_are_as_if_cut(gated):
    layer = MLP(7, gated=gated, activation="relu", bias=True, norm="layer")
    x, variables, boxed = draw(layer)
    names = axis_names(boxed)["params"]
    open_units, open_channels = np.array([0, 2, 3, 6]), np.array([0, 1, 3])
    mask = lambda size, kept: jnp.zeros(size).at[kept].set(1.0)
    channels = mask(6, open_channels)
    gates = {"mlp": mask(7, open_units), "sublayer": jnp.ones(())}
    closed = layer.apply(
        variables | {"gates": gates}, x * channels[None, None], channels
    )

    def cut(leaf, axes):
        for axis, name in enumerate(axes):
            kept = {"mlp": open_units, "embed": open_channels}.get(name)
            leaf = leaf if kept is None else leaf.take(kept, axis)
        return leaf

    params = jax.tree.map(cut, variables["params"], names)
    small = {"params": params, "gates": gates | {"mlp": jnp.ones(4)}}
    actual = layer.clone(mlp_dim=4).apply(small, x[..., open_channels])
    np.testing.assert_allclose(closed[..., open_channels], actual, atol=1e-5)
    np.testing.assert_array_equal(closed[..., [2, 4, 5]], 0.0)


@pytest.mark.parametrize("closed", ["mlp", "sublayer"])
def test_a_bias_goes_with_the_last_unit_of_its_sublayer(closed):
    """A module without an open unit is cut as a whole, and its bias with it."""
    layer = MLP(7, gated=False, activation="relu", bias=True)
    x, variables, _ = draw(layer)
    gates = variables["gates"] | {closed: jnp.zeros_like(variables["gates"][closed])}
    np.testing.assert_array_equal(layer.apply(variables | {"gates": gates}, x), 0.0)


def test_names_of_axes_follow_the_stream():
    layer = MLP(7, gated=True, bias=True, norm="layer", axis="image_embed")
    names = axis_names(draw(layer)[2]["params"])
    assert names == {
        "gate": ("image_embed", "mlp"),
        "up": ("image_embed", "mlp"),
        "down": ("mlp", "image_embed"),
        "gate_bias": ("mlp",),
        "up_bias": ("mlp",),
        "down_bias": ("bias", "image_embed"),
        "norm": {"scale": ("image_embed",), "bias": ("image_embed",)},
    }
