"""What norms promise: their formula over the channels that are open."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from slimjax.nn.norm import make_norm

KINDS = ["rms", "layer"]
OPEN = np.array([1.0, 0, 1, 0.5, 0, 1, 1])


def draw(kind, writes=False, batch=(2, 5)):
    """Returns x [*batch 7], 0 where closed, a norm, and its variables, drawn."""
    x = jax.random.normal(jax.random.key(0), (*batch, 7))
    x = jnp.where(jnp.expand_dims(OPEN > 0, range(len(batch))), x, 0.0)
    norm = make_norm(kind, epsilon=1e-3, axis="image_embed", writes=writes)
    boxed = norm.init(jax.random.key(1), x)
    source = np.random.default_rng(2)
    redraw = lambda leaf: jnp.asarray(source.standard_normal(leaf.shape), jnp.float32)
    return x, norm, jax.tree.map(redraw, nn.meta.unbox(boxed)), boxed


def formula(x, params, kind):
    """Returns the norm of vectors without closed channels, in float64."""
    x = np.asarray(x, np.float64)
    if kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    y = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-3)
    return y * np.asarray(params["scale"]) + np.asarray(params.get("bias", 0.0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [(3,), (4, 20)])
def test_a_norm_is_its_formula(kind, batch):
    x, norm, variables, _ = draw(kind, batch=batch)
    actual = norm.apply(variables, x)
    expected = formula(x, variables["params"], kind)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("batch", [(3,), (4, 20)])
def test_closed_channels_are_as_if_cut_and_give_zeros(kind, writes, batch):
    x, norm, variables, _ = draw(kind, writes, batch)
    kept = np.flatnonzero(OPEN)
    slim = jax.tree.map(lambda leaf: leaf[..., kept], variables)

    channels = jnp.asarray(OPEN)
    full = lambda v, x: norm.apply(v, x, channels=channels)
    small = lambda v, x: norm.apply(v, x, channels=channels[kept])
    out, pull = jax.vjp(full, variables, x)
    slope = jnp.cos(jnp.arange(out.size)).reshape(out.shape)
    slopes, dx = pull(slope)
    slim_out, slim_pull = jax.vjp(small, slim, x[..., kept])
    slim_slopes, slim_dx = slim_pull(slope[..., kept])
    closed = np.flatnonzero(OPEN == 0)
    np.testing.assert_array_equal(out[..., closed], 0.0)
    for own in jax.tree.leaves(slopes):
        np.testing.assert_array_equal(own[..., closed], 0.0)

    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    close(out[..., kept], slim_out)
    close(dx[..., kept], slim_dx)
    jax.tree.map(lambda a, b: close(a[..., kept], b), slopes, slim_slopes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_norm_that_writes_passes_fractional_gates_and_folds_like_a_matrix(kind):
    x, norm, variables, boxed = draw(kind, writes=True)
    for name, box in boxed["params"].items():
        assert box.names == (name, "image_embed")
        assert box.value.shape == (1, 7)
    channels = jnp.asarray(OPEN)
    folded = jax.tree.map(lambda leaf: leaf * channels[None], variables)
    is_open = (channels > 0).astype(jnp.float32)
    np.testing.assert_allclose(
        norm.apply(variables, x, channels), norm.apply(folded, x, is_open), rtol=1e-6
    )


def test_unknown_norms_are_refused():
    with pytest.raises(ValueError, match="'batch' is not a norm"):
        make_norm("batch")
