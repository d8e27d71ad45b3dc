"""Few bits: even levels, straight gradients, files that give back the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_files import pack, unpack
from shapes import make_variables, models

from slimjax.nn.bitstream import pack_codes, packed_bytes, unpack_codes
from slimjax.nn.quantize import (
    FULL,
    STATES,
    bit_axis,
    bit_key,
    decode,
    encode,
    fit_rows,
    from_rows,
    precision_names,
    quantize,
    to_rows,
    uniform_precision,
)
from slimjax.trees import flatten, unflatten

LEVELS = tuple(b for b in STATES if b < FULL)


def random_precision(weights, names, seed=0):
    """Draws the bits and fits of every unit."""
    source = np.random.default_rng(seed)
    precision = uniform_precision(weights, names, FULL)
    draw = lambda units: source.choice(STATES, len(units)).astype(np.int32)
    fits = lambda units: source.uniform(0.5, 1.5, len(units)).astype(np.float32)
    return {
        "bits": unflatten({k: draw(v) for k, v in flatten(precision["bits"]).items()}),
        "fit": unflatten({k: fits(v) for k, v in flatten(precision["fit"]).items()}),
    }


@pytest.mark.parametrize("group_size", [0, 16])
def test_errors_of_normal_numbers_are_those_of_the_best_even_levels(group_size):
    rows = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
    best = {2: 0.1188, 3: 0.03744, 4: 0.01154, 6: 0.00104, 8: 0.0001}
    for bits in LEVELS:
        own = np.full(64, bits)
        codes, steps = encode(rows, own, np.ones(64, np.float32), group_size)
        error = np.mean((decode(codes, steps, own, group_size) - rows) ** 2)
        assert error < 1.15 * best[bits]
        assert codes.min() >= 0
        assert codes.max() < 2**bits


def test_a_fit_is_no_worse_than_none_and_heeds_the_curvature():
    source = np.random.default_rng(0)
    rows = source.standard_t(3, (8, 64)).astype(np.float32)
    curvature = source.exponential(size=(8, 64)).astype(np.float32) ** 2
    bits = np.full(8, 3)

    def error(fit):
        codes, steps = encode(rows, bits, fit)
        return (curvature * (decode(codes, steps, bits) - rows) ** 2).sum(1)

    fit, least = fit_rows(rows, curvature, bits)
    np.testing.assert_allclose(error(fit), least, rtol=1e-5)
    assert (least <= error(np.ones(8, np.float32)) + 1e-6).all()
    plain, _ = fit_rows(rows, np.zeros_like(rows), bits)
    assert (error(plain) >= least - 1e-6).all()


@given(
    st.lists(st.sampled_from(STATES), min_size=1, max_size=9),
    st.integers(1, 33),
    st.integers(0, 99),
)
def test_codes_come_back_from_as_few_bytes_as_they_take(bits, length, seed):
    bits = np.array(bits)
    codes = np.random.default_rng(seed).integers(
        0, 2 ** bits[:, None], (len(bits), length)
    )
    stream = pack_codes(codes, bits)
    assert len(stream) == packed_bytes(bits, length)
    assert len(stream) <= codes.shape[1] * bits.sum() / 8 + len(STATES)
    np.testing.assert_array_equal(unpack_codes(stream, bits, length), codes)


def test_gradients_go_straight_through_and_16_bits_change_nothing():
    weights = {"up": jnp.linspace(-1, 1, 24).reshape(4, 6), "scale": jnp.ones(4)}
    names = {"up": ("embed", "mlp"), "scale": ("embed",)}
    some = uniform_precision(weights, names, 2)
    slopes = jax.grad(lambda w: (3 * quantize(w, names, some)["up"]).sum())(weights)
    np.testing.assert_array_equal(slopes["up"], 3)
    assert len(np.unique(quantize(weights, names, some)["up"][:, 0])) <= 4
    same = quantize(weights, names, uniform_precision(weights, names, FULL))
    jax.tree.map(np.testing.assert_array_equal, same, weights)


LAYER_NAMES = {
    "mlp": {
        "up": ("embed", "mlp"),
        "down": ("mlp", "embed"),
        "up_bias": ("mlp",),
        "down_bias": ("bias", "embed"),
    },
    "cross": {
        "query": ("embed", "heads", "head_dim"),
        "key": ("image_embed", "kv_heads", "head_dim"),
        "query_bias": ("heads", "head_dim"),
        "key_bias": ("kv_heads", "head_dim"),
        "query_norm": ("head_dim",),
        "relative": {"table": ("buckets", "heads")},
    },
    "mlp_norm": {"scale": ("scale", "embed"), "bias": ("bias", "embed")},
    "positions": {"table": ("places", "embed")},
    "tokens": {"embedding": ("vocab", "embed"), "bias": ("vocab",)},
    "pooler": {"kernel": ("embed", "pooled"), "bias": ("pooled",)},
    "label_head": {"table": ("classes", "pooled"), "bias": ("classes",)},
}
MATRICES = {"up", "down", "query", "key", "table", "embedding", "kernel"}


def draw_layer():
    """Returns weights of all kinds, each axis of another length, and their names."""
    lengths = dict(embed=6, mlp=5, heads=4, kv_heads=2, head_dim=3, image_embed=7)
    lengths |= dict(
        bias=1, scale=1, buckets=8, places=9, vocab=11, pooled=10, classes=2
    )
    source = np.random.default_rng(0)
    draw = lambda axes: source.standard_normal([lengths[a] for a in axes])
    names = flatten(LAYER_NAMES)
    weights = {p: draw(a).astype(np.float32) for p, a in names.items()}
    return unflatten(weights), LAYER_NAMES


def test_biases_have_bits_of_their_own_and_leave_those_of_units_alone():
    weights, names = draw_layer()
    bits = flatten(uniform_precision(weights, names, 3)["bits"])
    shared = {("mlp", "mlp"): 5, ("cross", "heads"): 4, ("cross", "kv_heads"): 2}
    for key, num_units in shared.items():
        np.testing.assert_array_equal(bits[key], [3] * num_units)
    for path, axes in flatten(names).items():
        is_relative = "relative" in path
        few = path[-1] in MATRICES and not is_relative
        assert set(bits[bit_key(path, axes)]) == {3 if few else 8}, path
    stacked = jax.tree.map(
        lambda axes: ("layer", *axes), names, is_leaf=lambda x: isinstance(x, tuple)
    )
    for path, axes in flatten(stacked).items():
        assert (bit_axis(axes) is None) == (bit_axis(axes[1:]) is None), path
    assert set(flatten(precision_names(names)["bits"])) == set(bits)


def test_weights_of_all_kinds_come_back_from_a_packed_file():
    weights, names = draw_layer()
    precision = random_precision(weights, names, 4)
    found = flatten(unpack(pack(weights, names, precision)))
    rounded = jax.tree.map(np.asarray, quantize(weights, names, precision))
    for path, own in flatten(rounded).items():
        np.testing.assert_allclose(found[path], own, rtol=1e-2, atol=1e-6)


@given(st.data())
@settings(max_examples=settings.default.max_examples // 2)
def test_a_packed_file_holds_the_levels_that_were_trained_with(data):
    config = data.draw(models(max_layers=2))
    group_size = data.draw(st.sampled_from([0, 3]))
    variables, names = make_variables(config)
    weights, names = variables["params"], names["params"]
    precision = random_precision(weights, names, data.draw(st.integers(0, 99)))
    found = flatten(unpack(pack(weights, names, precision, group_size)))
    axes, bits = flatten(names), flatten(precision["bits"])
    for path, weight in flatten(weights).items():
        axis, own = bit_axis(axes[path]), bits[bit_key(path, axes[path])]
        fit = flatten(precision["fit"])[path]
        codes, steps = encode(to_rows(weight, axis), own, fit, group_size)
        levels = decode(codes, steps, own, group_size)
        full = to_rows(weight, axis).astype(jnp.bfloat16).astype(np.float32)
        expected = np.where(own[:, None] < FULL, levels, full)
        expected = from_rows(expected, axis, weight.shape)
        np.testing.assert_array_equal(found[path], expected)
