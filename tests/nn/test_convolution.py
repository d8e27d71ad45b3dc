"""Convolutions and patches of pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.errors import ConfigError
from slimjax.models.settings import ModelSettings
from slimjax.nn.convolution import Convolution, scale_pixels
from slimjax.nn.patches import Patches
from slimjax.nn.pictures import Picture, Stage

B, H, W, C, D = 2, 8, 4, 3, 7
STAGES = (Stage(5, kernel=3, stride=2), Stage(6, kernel=2, pool=2))
RELU = lambda x: np.maximum(x, 0)


def draw(shapes: dict) -> dict:
    source = np.random.default_rng(0)
    return {k: source.normal(size=s).astype(np.float32) for k, s in shapes.items()}


def textbook_filters(x, kernel, bias, stride):
    """Returns what filters make of one picture, by loops."""
    size, out = len(kernel), []
    beyond = max(size - stride, 0)
    low = beyond // 2
    padded = np.pad(x, ((low, beyond - low),) * 2 + ((0, 0),))
    for i in range(0, x.shape[0], stride):
        row = [padded[i : i + size, j : j + size] for j in range(0, x.shape[1], stride)]
        out.append([np.einsum("rsc,rscf->f", part, kernel) + bias for part in row])
    return np.array(out)


def textbook_norm(x, kind, is_open):
    """Returns a picture of filters, normalised over those that are open."""
    own = x[..., is_open]
    axes = None if kind == "group" else -1
    centred = own if kind == "rms" else own - own.mean(axes, keepdims=True)
    out = np.zeros_like(x)
    power = np.square(centred).mean(axes, keepdims=True)
    out[..., is_open] = own if kind == "none" else centred / np.sqrt(power + 1e-6)
    return out


@pytest.mark.parametrize("kind", ["rms", "layer", "group", "none"])
@pytest.mark.parametrize("pool", ["max", "mean"])
def test_a_convolution_is_that_of_the_formula(kind, pool):
    picture = Picture(H, W, C, STAGES, norm=kind, pool=pool)
    layer, source = Convolution(picture, D), np.random.default_rng(1)
    pixels = source.normal(size=(B, H, W, C)).astype(np.float32)
    params = draw(
        dict(kernel_0=(3, 3, C, 5), bias_0=(5,), kernel_1=(2, 2, 5, 6), bias_1=(6,))
        | dict(out=(6, D), out_bias=(1, D))
    )
    shapes = jax.eval_shape(layer.init, jax.random.key(0), pixels, jnp.ones(D))
    norms = {k: v for k, v in shapes["params"].items() if k.startswith("norm")}
    fill = lambda path, x: jnp.full(x.shape, float("scale" in str(path)))
    norms = jax.tree_util.tree_map_with_path(fill, jax.eval_shape(lambda: norms))
    gates = {"filters_0": np.array([1.0, 0, 1, 1, 0]), "filters_1": np.ones(6)}
    gates["filters_1"][2] = 0.0
    variables = {"params": {**norms, **params}, "gates": gates}
    actual = jax.jit(layer.apply)(variables, pixels, jnp.ones(D))

    for row, expected in zip(pixels, actual, strict=True):
        x = row
        for n, stage in enumerate(STAGES):
            is_open = gates[f"filters_{n}"] > 0
            kernel, bias = params[f"kernel_{n}"], params[f"bias_{n}"]
            x = textbook_filters(x, kernel, bias, stage.stride)
            x = RELU(textbook_norm(x, kind, is_open)) * is_open
        squares = x.reshape(2, 2, 1, 2, 6)
        x = squares.max((1, 3)) if pool == "max" else squares.mean((1, 3))
        stream = x.reshape(-1, 6) @ params["out"] + params["out_bias"]
        np.testing.assert_allclose(stream, expected, atol=1e-4)


def test_a_patch_is_one_position():
    layer = Patches(2, D)
    params = draw(dict(kernel=(2, 2, C, D), bias=(1, D)))
    pixels = np.random.default_rng(1).integers(0, 256, (B, H, W, C), np.uint8)
    actual = layer.apply({"params": params}, jnp.asarray(pixels), jnp.ones(D))
    assert actual.shape == (B, 8, D)
    part = pixels[1, 2:4, 2:4] / 127.5 - 1.0
    expected = np.einsum("rsc,rscd->d", part, params["kernel"]) + params["bias"][0]
    np.testing.assert_allclose(actual[1, 3], expected, atol=1e-4)


def test_bytes_and_scaled_numbers_are_read_alike():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3), np.uint8)
    twice = scale_pixels(scale_pixels(jnp.asarray(pixels)))
    np.testing.assert_allclose(twice, pixels / 127.5 - 1, atol=2e-7)  # Of float32.


def test_sizes_that_do_not_divide_are_refused_by_name():
    settings = ModelSettings("encoder", 8, 0, stem="convolution", pools=(2, 2, 2))
    with pytest.raises(
        ConfigError, match=r"config\.model\.pools: 2 of stage 2 .* 7 x 5"
    ):
        settings.picture(28, 20, 3)
    settings = ModelSettings("encoder", 8, 0, stem="patches", patch_size=8)
    with pytest.raises(ConfigError, match=r"config\.model\.patch_size=8 .* 28 x 20"):
        settings.picture(28, 20, 3)


@pytest.mark.parametrize(
    "changes",
    [
        dict(filters=()),
        dict(filters=(8, 0)),
        dict(strides=(1, 2)),
        dict(pools=(0,)),
        dict(image_norm="batch"),
        dict(image_pool="sum"),
        dict(image_activation="rely"),
        dict(patch_size=0),
    ],
)
def test_settings_without_a_meaning_are_refused(changes):
    with pytest.raises(ConfigError, match=rf"config\.model\.{next(iter(changes))}="):
        ModelSettings("encoder", 8, 1, stem="convolution", **changes)
