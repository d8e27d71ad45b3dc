"""What the one matrix product promises."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimjax.nn.products import lay_in_rows, multiply, product, round_to

DTYPES = [jnp.float32, jnp.bfloat16]


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rounded(x, dtype):
    return np.asarray(jnp.asarray(x).astype(dtype).astype(jnp.float32), np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 90))
def test_product_and_its_gradients_are_those_of_rounded_operands(dtype, t, i, o):
    x, kernel, slope = draw(0, 2, t, i), draw(1, i, o), draw(2, 2, t, o)
    run = jax.jit(
        lambda x, kernel, slope: (
            (pair := jax.vjp(lambda *args: product(*args, dtype), x, kernel))[0],
            *pair[1](slope),
        )
    )
    out, dx, dkernel = run(x, kernel, slope)
    x, kernel, slope = (rounded(a, dtype) for a in (x, kernel, slope))
    for actual, expected in [
        (out, x @ kernel),
        (dx, slope @ kernel.T),
        (dkernel, np.einsum("bti,bto->io", x, slope)),
    ]:
        assert actual.dtype == jnp.float32
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-4)


def test_gradients_have_the_types_of_what_they_belong_to():
    x, kernel = jnp.ones((3, 4), jnp.bfloat16), jnp.ones((4, 5))
    grads = jax.grad(lambda x, k: product(x, k, jnp.bfloat16).sum(), (0, 1))(x, kernel)
    assert [g.dtype for g in grads] == [jnp.bfloat16, jnp.float32]


@pytest.mark.parametrize("dtype", DTYPES)
def test_transposes_around_a_product_change_nothing(dtype):
    x, kernel = draw(0, 48, 32), draw(1, 80, 32)

    def turned(x, kernel):
        return product(x.T, kernel.T[:, :32], dtype).T

    expected = (rounded(x[:32], dtype).T @ rounded(kernel, dtype).T[:, :32]).T
    actual = jax.jit(turned)(x[:32], kernel)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-4)
    grads = jax.jit(jax.grad(lambda *a: turned(*a).sum(), (0, 1)))(x[:32], kernel)
    assert all(np.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_multiply_takes_stacks_and_transposed_operands(left, right, dtype):
    a = draw(0, 2, 3, *((16, 48) if left else (48, 16)))
    b = draw(1, 2, 3, *((32, 16) if right else (16, 32)))
    options = {"transpose_left": left, "transpose_right": right}
    actual = jax.jit(lambda a, b: multiply(a, b, **options))(
        a.astype(dtype), b.astype(dtype)
    )
    a, b = rounded(a, dtype), rounded(b, dtype)
    a, b = a.swapaxes(-1, -2) if left else a, b.swapaxes(-1, -2) if right else b
    np.testing.assert_allclose(actual, a @ b, rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="A promise for CPU.")
def test_all_three_bfloat16_products_keep_bfloat16_operands():
    x, kernel = jnp.ones((256, 64)), jnp.ones((64, 128))
    grad = jax.grad(lambda x, k: (product(x, k, jnp.bfloat16) ** 2).sum(), (0, 1))
    text = jax.jit(grad).lower(x, kernel).compile().as_text()
    assert text.count(" dot(") == 3
    kernels = re.findall(r"\(\S+ bf16\[[\d,]+\], \S+ bf16\[[\d,]+\]\) -> f32", text)
    assert len(kernels) == 3


def test_round_to_has_the_bits_of_astype():
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, -3.4e38]
    ties = np.array([0x3F808000, 0x3F818000, 0x3F80FFFF, 0x7F7FFFFF], np.uint32)
    x = np.concatenate([bits, ties]).view(np.float32)
    x = np.concatenate([x[~np.isnan(x)], np.array(special, np.float32)])
    actual = np.asarray(jax.jit(round_to, static_argnums=1)(x, jnp.bfloat16))
    expected = np.asarray(jnp.asarray(x).astype(jnp.bfloat16))
    same = actual.view(np.uint16) == expected.view(np.uint16)
    # Numbers below the smallest normal one may be flushed to zero by either.
    assert (same | np.isnan(x) | (np.abs(x) < 2e-38)).all()
    assert np.isnan(actual[np.isnan(x)].astype(np.float32)).all()


def test_lay_in_rows_is_the_identity():
    x = draw(0, 3, 5)
    np.testing.assert_array_equal(jax.jit(lambda x: lay_in_rows(x.T))(x), x.T)


def test_product_works_in_scan_and_checkpoint():
    kernels, x = draw(0, 3, 16, 16), draw(1, 32, 16)

    @jax.checkpoint
    def layer(x, kernel):
        return product(jnp.tanh(x), kernel, jnp.bfloat16), None

    def scanned(kernels):
        return jax.lax.scan(layer, x, kernels)[0].sum()

    def unrolled(kernels):
        out = x
        for kernel in kernels:
            out = layer(out, kernel)[0]
        return out.sum()

    grads = jax.jit(jax.grad(scanned))(kernels), jax.jit(jax.grad(unrolled))(kernels)
    np.testing.assert_allclose(*grads, rtol=2e-2, atol=2e-2)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from slimjax.nn.products import product
from slimjax.nn.attention_kernels import attend
from slimjax.nn.cross_entropy import cross_entropy

def loss(x, kernel, targets):
    heads = product(x, kernel, jnp.bfloat16).reshape(8, 32, 2, 16)
    mixed = attend(heads, heads, heads, dtype=jnp.bfloat16).reshape(8, 32, 32)
    return cross_entropy(mixed, kernel.T, targets, dtype=jnp.bfloat16).sum()

x = jax.random.normal(jax.random.key(0), (8, 32, 32))
kernel = jax.random.normal(jax.random.key(1), (32, 32))
targets = jax.random.randint(jax.random.key(2), (8, 32), 0, 32)
run = lambda: jax.jit(jax.value_and_grad(loss, (0, 1)))
alone = run()(x, kernel, targets)
mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
put = lambda a, *spec: jax.device_put(a, NamedSharding(mesh, P(*spec)))
spread = run()(put(x, "data"), put(kernel), put(targets, "data"))
for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(spread), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-1)
"""


def test_eight_devices_give_what_one_gives():
    prelude = "import jax; jax.config.update('jax_num_cpu_devices', 8)\n"
    command = [sys.executable, "-c", prelude + SHARDED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
