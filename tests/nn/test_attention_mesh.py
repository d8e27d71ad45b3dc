"""Attention shared by the devices of a mesh is attention on one device."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention_laws import distance, draw, draw_bias, pull, segments_of
from jax.sharding import PartitionSpec as P

from slimjax.nn import attention_kernels
from slimjax.nn.attention_kernels import attend
from slimjax.nn.attention_splash import attend_splash
from slimjax.nn.positions import rotation_table

AXES = ("data", "fsdp", "model", "context")
PACKED, DROPPED = "packed", "dropped"
BOTH_SIDES = {"causal": False, "window": 9}


def make_mesh(*sizes):
    auto = (jax.sharding.AxisType.Auto,) * len(AXES)
    devices = jax.devices()[: np.prod(sizes)]
    return jax.make_mesh(sizes, AXES, auto, devices=devices)


def assert_same_on_a_mesh(sizes, shape, impl, *kinds, **options):
    """Compares output and gradients with those of one device; returns them."""
    arrays = draw(*shape)
    batch_size, length, head_dim = shape[0], shape[1], shape[-1]
    if PACKED in kinds:
        segments = segments_of(batch_size, length)
        options |= {"query_segments": segments, "key_segments": segments}
    if "turned" in kinds:
        positions = jnp.broadcast_to(jnp.arange(length), (batch_size, length))
        options |= {"rotation": rotation_table(positions, head_dim, 1e4)}
    if DROPPED in kinds:
        options |= {"dropout": 0.3, "dropout_key": jax.random.key(5)}
    expected = pull(lambda *x: attend(*x, impl="reference", **options), *arrays)
    with jax.set_mesh(make_mesh(*sizes)):
        actual = pull(lambda *x: attend(*x, impl=impl, **options), *arrays)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    return actual


@pytest.mark.parametrize(
    ("sizes", "shape", "impl", "kinds", "options"),
    [
        ((1, 1, 1, 8), (2, 64, 64, 4, 2, 8), "blocked", (PACKED,), {}),
        ((1, 2, 1, 4), (2, 60, 60, 5, 1, 4), "blocked", ("turned",), {"window": 19}),
        ((2, 1, 1, 4), (2, 36, 36, 4, 2, 6), "reference", (PACKED,), {"window": 10}),
        ((1, 1, 2, 4), (1, 40, 40, 4, 2, 8), "blocked", (PACKED, "turned"), {}),
        ((2, 1, 2, 2), (2, 34, 34, 6, 3, 4), "blocked", (), {"window": 1}),
        ((1, 1, 4, 2), (1, 22, 22, 8, 2, 4), "reference", ("turned",), {}),
        ((1, 1, 1, 4), (1, 44, 44, 2, 1, 8), "blocked", (), {"causal": False}),
        ((1, 1, 1, 2), (2, 10, 36, 2, 1, 4), "reference", (), {"causal": False}),
        ((2, 2, 2, 1), (4, 33, 33, 4, 2, 4), "blocked", (PACKED,), {}),
        ((1, 1, 2, 4), (2, 40, 40, 4, 2, 4), "blocked", (), BOTH_SIDES),
        ((2, 1, 2, 2), (2, 40, 40, 4, 2, 4), "blocked", (PACKED, DROPPED), {}),
        ((1, 1, 2, 4), (2, 24, 24, 4, 1, 4), "reference", (DROPPED,), {}),
    ],
)
def test_a_mesh_computes_what_one_device_does(sizes, shape, impl, kinds, options):
    out = assert_same_on_a_mesh(sizes, shape, impl, *kinds, **options)[0]
    assert len(out.sharding.device_set) == np.prod(sizes)
    spec = (*out.sharding.spec, None, None, None)[:4]
    for cut, size in zip(spec[1:3], (sizes[3], sizes[2]), strict=True):
        assert (cut is not None) == (size > 1)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(
    ("sizes", "impl"), [((2, 1, 2, 2), "blocked"), ((1, 1, 4, 2), "reference")]
)
def test_a_bias_and_its_gradient_are_those_of_one_device(batch_size, sizes, impl):
    *inputs, slope = draw(2, 20, 20, 4, 2, 4)
    arrays = *inputs, draw_bias(batch_size, 20, 20, 4), slope

    def run(impl):
        return pull(lambda *x: attend(*x[:3], bias=x[3], impl=impl), *arrays)

    expected = run("reference")
    with jax.set_mesh(make_mesh(*sizes)):
        actual = run(impl)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_what_a_mesh_cannot_divide_lies_whole():
    """Three rows, 21 positions and 3 heads on a mesh of twos."""
    assert_same_on_a_mesh((2, 1, 2, 2), (3, 21, 21, 3, 1, 4), "blocked")


def test_queries_with_a_cache_are_not_cut():
    positions = jnp.array([[3, 4], [20, 21]])
    shape = (2, 2, 30, 4, 2, 8)
    options = {"query_positions": positions}
    assert_same_on_a_mesh((2, 1, 2, 2), shape, "reference", **options)


@pytest.fixture
def interpreted(monkeypatch):
    """Has the TPU's kernel run step by step on this CPU."""
    run = partial(attend_splash, interpret=True)
    monkeypatch.setitem(attention_kernels.KERNELS, "splash", run)
    monkeypatch.setitem(attention_kernels.WHY_NOT, "splash", lambda *_, **__: "")


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize(
    ("sizes", "shape", "kinds", "options"),
    [
        ((1, 1, 1, 4), (1, 512, 512, 1, 1, 8), (PACKED,), {}),
        ((1, 1, 2, 2), (1, 256, 256, 2, 1, 8), ("turned",), {"window": 100}),
        ((2, 1, 1, 2), (2, 256, 256, 1, 1, 8), (PACKED,), {"causal": False}),
    ],
)
def test_splash_on_a_mesh_computes_what_one_device_does(sizes, shape, kinds, options):
    assert_same_on_a_mesh(sizes, shape, "splash", *kinds, **options)


def test_gradients_of_gathered_keys_are_summed_in_float32():
    """At most twice the error that bfloat16 makes on one device."""
    arrays = draw(1, 64, 64, 4, 1, 8)
    run = lambda dtype: pull(lambda *x: attend(*x, dtype=dtype), *arrays)
    exact, rounded = run(jnp.float32), run(jnp.bfloat16)
    with jax.set_mesh(make_mesh(1, 1, 1, 8)):
        shared = run(jnp.bfloat16)
    for a, b, c in zip(shared, rounded, exact, strict=True):
        assert distance(np.asarray(a), c) <= 2 * distance(b, c)


def test_memory_is_shared_by_the_devices_and_linear_in_length():
    def temporaries(length, mesh):
        lie = jax.NamedSharding(mesh, P(None, "context"))
        shape = jax.ShapeDtypeStruct((1, length, 2, 16), "f4", sharding=lie)

        def run(query, key, value, slope):
            out, vjp = jax.vjp(partial(attend, impl="blocked"), query, key, value)
            return out, *vjp(slope)

        with jax.set_mesh(mesh):
            compiled = jax.jit(run).lower(*(shape,) * 4).compile()
        assert f"{length // mesh.size},{length}]" not in compiled.as_text()
        return compiled.memory_analysis().temp_size_in_bytes

    shared = [temporaries(length, make_mesh(1, 1, 1, 8)) for length in (4096, 16384)]
    assert shared[1] < 4.4 * shared[0]
    assert shared[0] < temporaries(4096, make_mesh(1, 1, 1, 1)) / 2
