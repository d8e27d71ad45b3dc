"""What every attention kernel is compared with: the textbook's, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from slimjax.nn.attention_blocked import attend_blocked
from slimjax.nn.attention_dropout import make_drop
from slimjax.nn.attention_kernels import attend
from slimjax.nn.attention_mask import Mask


def draw(batch_size, num_queries, num_keys, num_heads, num_kv_heads, head_dim):
    keys = jax.random.split(jax.random.key(num_queries), 4)
    shape = (batch_size, num_queries, num_heads, head_dim)
    query, slope = (jax.random.normal(k, shape) for k in keys[:2])
    shape = (batch_size, num_keys, num_kv_heads, head_dim)
    return query, *(jax.random.normal(k, shape) for k in keys[2:]), slope


def pull(fn, *arrays):
    """Returns the output and the gradients; the last array is the output's slope."""

    def run(*arrays):
        out, vjp = jax.vjp(fn, *arrays[:-1])
        return out, *vjp(arrays[-1])

    return jax.jit(run)(*arrays)


def draw_bias(batch_size, num_queries, num_keys, num_heads):
    shape = batch_size, num_heads, num_queries, num_keys
    return jax.random.normal(jax.random.key(7), shape)


def as_kernel_takes_it(query, bias=None, dropout=0.0, dropout_key=None, **options):
    """Returns arguments of `attend` as the kernels take them: a mask and the rest."""
    rest = {k: options.pop(k) for k in ("scale",) if k in options}
    rest |= {} if bias is None else {"bias": bias}
    rest |= {"drop": make_drop(dropout_key, dropout, query)} if dropout else {}
    return Mask(**options), rest


def distance(a, b):
    return float(jnp.linalg.norm(a - b))


def assert_laws(arrays, options, *, kernel=attend_blocked, rough=False, **tiles):
    """Compares a kernel with the reference; `rough` adds bfloat16.

    With ``bias`` in `options`, its gradient is compared as well.
    """
    *inputs, slope = arrays
    options = dict(options)
    bias = options.pop("bias", None)
    inputs += [] if bias is None else [bias]

    def reference(dtype):
        def run(query, key, value, bias=None):
            more = options | {"bias": bias, "dtype": dtype}
            return attend(query, key, value, impl="reference", **more)

        return pull(run, *inputs, slope)

    def fast(dtype):
        def run(query, key, value, bias=None):
            mask, rest = as_kernel_takes_it(query, bias, **options)
            return kernel(query, key, value, mask, dtype=dtype, **rest, **tiles)

        return pull(run, *inputs, slope)

    exact = reference(jnp.float32)
    for a, b in zip(fast(jnp.float32), exact, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    if not rough:
        return
    bounds = reference(jnp.bfloat16)
    for a, b, c in zip(fast(jnp.bfloat16), bounds, exact, strict=True):
        # A gradient that is zero, as with a single key, still rounds in float32.
        assert distance(a, c) <= 2 * distance(b, c) + 1e-5 * distance(exact[0], 0.0)


def segments_of(batch_size, length):
    """Two packed texts and padding, cut elsewhere in each row."""
    cuts = np.arange(batch_size)[:, None] + length // 3
    places = np.arange(length)
    return jnp.asarray(
        np.where(places < cuts, 1, np.where(places < length - 3, 2, 0)), jnp.int32
    )
