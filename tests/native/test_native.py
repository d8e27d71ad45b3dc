"""What the native kernels promise: the formulas, whoever computes them."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilers import needs_compiler
from hypothesis import given, settings
from hypothesis import strategies as st

from slimjax import native
from slimjax.models.layer_config import LayerConfig
from slimjax.models.recipes import decoder
from slimjax.native import library
from slimjax.nn.cross_entropy import cross_entropy
from slimjax.nn.norm import rms_norm
from slimjax.nn.products import MIN_ROWS, products
from slimjax.nn.swiglu import swiglu

pytestmark = needs_compiler
SIZES = st.integers(1, 140)
ROWS = st.integers(MIN_ROWS, 400)


@pytest.fixture(autouse=True)
def enabled(monkeypatch):
    """Lets one of the eight devices of the tests do as if it were alone."""
    assert library.register()
    monkeypatch.setattr(native, "is_enabled", lambda: not library._switched_off)


def draw(*shape):
    return jax.random.normal(jax.random.key(sum(shape)), shape)


def pull(fn, *args):
    """Returns the outputs, and the gradients of all arguments."""

    def run(*args):
        out, vjp = jax.vjp(fn, *args)
        slope = lambda x: jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)
        return out, vjp(jax.tree.map(slope, out))

    return jax.tree.leaves(jax.jit(run)(*args))


def assert_formula_holds(fn, *args):
    """Holds ``fn(dtype, *args)`` against itself without the kernels."""

    def native_and_plain(dtype):
        run = lambda *args: fn(dtype, *args)
        fast = pull(run, *args)
        with native.off():
            return fast, pull(lambda *args: run(*args), *args)

    fast, exact = native_and_plain(jnp.float32)
    for a, b in zip(fast, exact, strict=True):
        scale = 1 + np.abs(b).max()
        np.testing.assert_allclose(a / scale, b / scale, rtol=1e-5, atol=1e-5)
    fast, plain = native_and_plain(jnp.bfloat16)
    for a, b, c in zip(fast, plain, exact, strict=True):
        bound = 2 * np.linalg.norm(b - c) + 1e-5 * np.linalg.norm(c)
        assert np.linalg.norm(a - c) <= bound


@settings(max_examples=4)
@given(ROWS, SIZES, st.integers(1, 140))
def test_norms_and_their_gradients(rows, width, num_open):
    norm = partial(rms_norm, num_open=jnp.int32(num_open))
    x, scale = 3 * draw(rows, width), draw(width)
    fast = pull(norm, x, scale)
    with native.off():
        exact = pull(lambda *args: norm(*args), x, scale)
    for a, b in zip(fast, exact, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


@given(ROWS, SIZES, SIZES, st.integers(1, 3))
def test_products(rows, depth, width, count):
    kernels = [draw(depth, width + i) for i in range(count)]
    assert_formula_holds(
        lambda dtype, x, *k: products(x, k, dtype), draw(rows, depth), *kernels
    )


@settings(max_examples=4)
@given(ROWS, SIZES, st.integers(1, 300))
def test_swiglu(rows, width, hidden):
    assert_formula_holds(
        lambda dtype, x, *w: swiglu(x, *w, dtype),
        draw(rows, width),
        *mlp_weights(width, hidden),
    )


def mlp_weights(width, hidden):
    weights = draw(width, hidden), draw(width, hidden + 1)[:, 1:], draw(hidden, width)
    return [w * len(w) ** -0.5 for w in weights]


@settings(max_examples=4)
@given(ROWS, SIZES, st.integers(2, 600))
def test_cross_entropy(rows, width, entries):
    targets = jax.random.randint(jax.random.key(0), (rows,), 0, entries)
    assert_formula_holds(
        lambda dtype, x, table: cross_entropy(x, table, targets, dtype=dtype),
        draw(rows, width),
        draw(entries, width) * width**-0.5,
    )


def test_more_rows_than_a_chunk():
    """Weight gradients are summed over 2,048 and 4,096 rows at a time."""
    x, weights = draw(5000, 8), mlp_weights(8, 40)
    assert_formula_holds(lambda dtype, x, *w: swiglu(x, *w, dtype), x, *weights)
    targets = jax.random.randint(jax.random.key(0), (5000,), 0, 40)
    assert_formula_holds(
        lambda dtype, x, table: cross_entropy(x, table, targets, dtype=dtype),
        x,
        weights[0].T,
    )


def test_a_model_learns_the_same_with_and_without():
    layers = (LayerConfig(4, 2, 16, 80), LayerConfig(3, 1, 16, 33))
    model = decoder(vocab_size=97, width=40, layers=layers).module()
    tokens = jax.random.randint(jax.random.key(0), (3, 50), 0, 97)
    inputs = {"tokens": tokens}
    variables = model.init(jax.random.key(1), inputs)

    def error(variables):
        return model.apply(variables, inputs)["tokens"].scores(tokens).nats.mean()

    run = lambda: jax.jit(jax.value_and_grad(lambda v: error(v)))(variables)
    fast = run()
    with native.off():
        plain = run()
    for a, b in zip(jax.tree.leaves(fast), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_same_bits_on_one_thread_and_on_two():
    code = (
        "import jax, jax.numpy as jnp; from slimjax.nn.swiglu import swiglu;"
        "from slimjax.trees import hash_tree;"
        "x = jax.random.normal(jax.random.key(0), (700, 96));"
        "f = lambda x: swiglu(x, x.T[:, :200], x.T[:, 1:201], x[:200], jnp.bfloat16);"
        "print(hash_tree(jax.jit(jax.grad(lambda x: jnp.sum(f(x) ** 2)))(x)))"
    )
    hashes = {run_python(code, NPROC=threads)[0] for threads in ("1", "2")}
    assert len(hashes) == 1


def test_only_one_cpu_device_calls_the_kernels(monkeypatch):
    monkeypatch.undo()
    assert jax.device_count() == 8
    assert not native.is_enabled()
    code = "from slimjax import native; print(native.is_enabled())"
    assert run_python(code) == ("True\n", "")
    assert run_python(code, SLIMJAX_NATIVE="0") == ("False\n", "")


def test_without_a_compiler_one_line_is_said(tmp_path):
    code = "from slimjax import native; print(native.is_enabled())"
    out, error = run_python(code, PATH=str(tmp_path))
    assert out == "False\n"
    assert error.count("\n") == 1
    assert "C++ compiler" in error


def test_a_compiler_that_fails_is_one_line_too(tmp_path):
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    compiler.chmod(0o755)
    code = "from slimjax import native; print(native.is_enabled())"
    out, error = run_python(code, CXX=str(compiler))
    assert (out, error.splitlines()[-1]) == (
        "False\n",
        "slimjax: no native kernels, slower steps: broken",
    )


def test_the_fingerprint_follows_the_compiler():
    compiler = library.find_compiler()
    assert library.fingerprint(compiler) == library.fingerprint(compiler)
    assert library.fingerprint(compiler) != library.fingerprint("true")


def run_python(code, **env):
    """Returns stdout and stderr of a process with one device."""
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "1"} | env
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )
    return done.stdout, done.stderr
