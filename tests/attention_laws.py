"""What every attention kernel is held against: the textbook's, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from slimjax.nn.attention_blocked import attend_blocked
from slimjax.nn.attention_kernels import attend


def draw(batch_size, num_queries, num_keys, num_heads, num_kv_heads, head_dim):
    keys = jax.random.split(jax.random.key(num_queries), 4)
    shape = (batch_size, num_queries, num_heads, head_dim)
    query, slope = (jax.random.normal(k, shape) for k in keys[:2])
    shape = (batch_size, num_keys, num_kv_heads, head_dim)
    return query, *(jax.random.normal(k, shape) for k in keys[2:]), slope


def pull(fn, query, key, value, slope):
    """Returns the output and the three gradients."""

    def run(query, key, value, slope):
        out, vjp = jax.vjp(fn, query, key, value)
        return out, *vjp(slope)

    return jax.jit(run)(query, key, value, slope)


def distance(a, b):
    return float(jnp.linalg.norm(a - b))


def assert_laws(arrays, options, *, kernel=attend_blocked, rough=False, **tiles):
    """Holds a kernel against the reference; `rough` adds bfloat16."""

    def reference(dtype):
        return pull(
            lambda *args: attend(*args, impl="reference", dtype=dtype, **options),
            *arrays,
        )

    def fast(dtype):
        return pull(
            lambda *args: kernel(*args, dtype=dtype, **options, **tiles),
            *arrays,
        )

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
