"""What attention promises beside the causal mask: both directions, padding, bias."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention_laws import (
    as_kernel_takes_it,
    assert_laws,
    draw,
    draw_bias,
    pull,
    segments_of,
)
from compilers import NATIVE, needs_compiler
from hypothesis import given, settings
from hypothesis import strategies as st

from slimjax import native
from slimjax.errors import ConfigError
from slimjax.native import library
from slimjax.nn.attention_kernels import attend, choose
from slimjax.nn.attention_native import attend_native

IMPLS = ["reference", "blocked", NATIVE]
SHAPES = st.sampled_from([(1, 1), (4, 4), (4, 2), (3, 1)])


def padding_of(batch_size, length):
    """Returns segments of rows of which each has another length; the last has none."""
    lengths = np.maximum(length - 5 * np.arange(batch_size), 0)
    lengths[-1] = 0 if batch_size > 1 else lengths[-1]
    return jnp.asarray(np.arange(length)[None] < lengths[:, None], jnp.int32)


def formula(query, key, value, see, bias=None, scale=None):
    """Softmax row by row in float64; `see` is [B T S], `bias` [B N T S]."""
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    group = query.shape[2] // key.shape[2]
    out, scale = np.zeros_like(query), scale or query.shape[-1] ** -0.5
    for b, t, n in np.ndindex(*query.shape[:3]):
        seen = np.flatnonzero(see[b, t])
        if not len(seen):
            continue
        logits = key[b, seen, n // group] @ query[b, t, n] * scale
        logits += 0 if bias is None else np.asarray(bias)[b, n, t, seen]
        weights = np.exp(logits - logits.max())
        out[b, t, n] = weights @ value[b, seen, n // group] / weights.sum()
    return out


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(("num_queries", "num_keys"), [(37, 37), (33, 50), (50, 33)])
@pytest.mark.parametrize("window", [None, 1, 6])
def test_both_directions_and_padding_are_the_formula(
    impl, num_queries, num_keys, window
):
    query, key, value, _ = draw(3, num_queries, num_keys, 6, 2, 4)
    marks = padding_of(3, num_queries), padding_of(3, num_keys)
    see = np.asarray(marks[0][:, :, None] * marks[1][:, None]) > 0
    if window:
        ahead = np.arange(num_keys)[None] - np.arange(num_queries)[:, None]
        see &= (np.abs(ahead) < window)[None]
    options = dict(causal=False, window=window, scale=0.3)
    options |= dict(query_segments=marks[0], key_segments=marks[1])
    actual = attend(query, key, value, impl=impl, **options)
    expected = formula(query, key, value, see, scale=0.3)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(actual[-1], 0.0)


@needs_compiler
@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    *(st.integers(1, 3), st.integers(1, 300), st.integers(1, 300)),
    *(st.sampled_from([2, 8, 34, 64]), SHAPES),
    *(st.sampled_from([None, 1, 33, 150]), st.sampled_from(["", "padded", "packed"])),
)
def test_native_is_exact_in_both_directions(
    batch_size, num_queries, num_keys, head_dim, heads, window, marks
):
    arrays = draw(batch_size, num_queries, num_keys, *heads, head_dim)
    options: dict = {"causal": False, "window": window}
    if marks:
        make = padding_of if marks == "padded" else segments_of
        options |= {"query_segments": make(batch_size, num_queries)}
        options |= {"key_segments": make(batch_size, num_keys)}
    assert_laws(arrays, options, kernel=attend_native, rough=True)


@needs_compiler
def test_native_is_exact_where_padded_keys_come_in_pieces():
    """Gradients of keys are summed over 1,024 of them at a time."""
    options = {"causal": False, "window": 600}
    options |= {"query_segments": padding_of(1, 1300)}
    options |= {"key_segments": jnp.ones((1, 1400), jnp.int32).at[:, 1200:].set(0)}
    assert_laws(draw(1, 1300, 1400, 2, 1, 16), options, kernel=attend_native)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    *(st.integers(1, 60), st.integers(1, 60), SHAPES),
    *(st.sampled_from([None, 1, 9]), st.sampled_from(["", "padded", "packed"])),
    *(st.sampled_from([None, 1, 2]), st.booleans()),
    st.sampled_from([(None, None), (16, 16), (32, 48)]),
)
def test_blocked_is_exact_with_every_option(
    num_queries, num_keys, heads, window, marks, bias, causal, tiles
):
    arrays = draw(2, num_queries, num_keys, *heads, 8)
    options: dict = {"causal": causal, "window": window, "scale": 0.7}
    if marks:
        make = padding_of if marks == "padded" else segments_of
        options |= {"query_segments": make(2, num_queries)}
        options |= {"key_segments": make(2, num_keys)}
    if bias is not None:
        options |= {"bias": draw_bias(bias, num_queries, num_keys, heads[0])}
    assert_laws(arrays, options, rough=True, rows=tiles[0], columns=tiles[1])


@pytest.mark.parametrize("impl", ["reference", "blocked"])
def test_a_bias_is_added_to_the_scores(impl):
    query, key, value, _ = draw(2, 7, 9, 4, 2, 4)
    bias = draw_bias(2, 7, 9, 4)
    options = dict(bias=bias, causal=False, scale=1.0, impl=impl)
    actual = attend(query, key, value, **options)
    expected = formula(query, key, value, np.ones((2, 7, 9)), bias, 1.0)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_dropout_is_the_same_in_every_kernel_and_tile():
    options = {"dropout": 0.4, "dropout_key": jax.random.key(3)}
    arrays = draw(2, 45, 50, 4, 2, 8)
    for causal, bias in ((True, None), (False, draw_bias(1, 45, 50, 4))):
        more = options | {"causal": causal, "bias": bias}
        for rows, columns in ((None, None), (16, 16), (32, 48)):
            assert_laws(arrays, more, rows=rows, columns=columns)


def test_dropout_drops_its_share_keeps_the_mean_and_differs_by_key():
    query, key, _, _ = draw(2, 32, 64, 4, 2, 8)
    value = jnp.ones((2, 64, 2, 8))
    kept = []
    for seed in range(2):
        options = {"dropout": 0.25, "dropout_key": jax.random.key(seed)}
        drop = as_kernel_takes_it(query, **options)[1]["drop"]
        kept.append(np.asarray(drop.factors(0, 32, 0, 64)))
        assert np.mean(kept[-1] == 0) == pytest.approx(0.25, abs=0.02)
        np.testing.assert_allclose(np.unique(kept[-1]), [0, 1 / 0.75], rtol=1e-6)
        out = attend(query * 0, key, value, causal=False, **options)
        assert float(out.mean()) == pytest.approx(1.0, abs=0.02)
        assert float(out.std()) > 0.05
    assert np.mean(kept[0] != kept[1]) > 0.3
    assert np.abs(np.corrcoef(kept[0].reshape(8, -1)) - np.eye(8)).max() < 0.1


def test_no_key_or_no_rate_is_no_dropout():
    arrays = draw(1, 10, 10, 2, 1, 4)[:3]
    plain = attend(*arrays)
    np.testing.assert_array_equal(attend(*arrays, dropout=0.5), plain)
    key = jax.random.key(0)
    np.testing.assert_array_equal(attend(*arrays, dropout_key=key), plain)


@needs_compiler
@pytest.mark.parametrize("length", [40, 300])
def test_a_cpu_takes_the_native_kernel_where_it_can(length, monkeypatch):
    monkeypatch.setattr(native, "is_enabled", library.register)
    shape = jnp.zeros((2, length, 4, 8))

    def pick(**options):
        mask, rest = as_kernel_takes_it(shape, **options)
        return choose(shape, shape, mask, dtype=jnp.float32, **rest)

    segments = jnp.ones((2, length), jnp.int32)
    both = dict(query_segments=segments, key_segments=segments)
    plain = "reference" if length < 128 else "blocked"
    assert pick(causal=False, **both) == "native"
    assert pick(causal=False, window=9, scale=1.0) == "native"
    assert pick(bias=jnp.zeros((1, 4, length, length))) == plain
    assert pick(dropout=0.1, dropout_key=jax.random.key(0)) == plain


@needs_compiler
def test_what_the_native_kernel_does_not_take_is_refused():
    arrays = draw(1, 40, 40, 2, 1, 8)[:3]
    with pytest.raises(ConfigError, match="takes no relative positions"):
        attend(*arrays, bias=jnp.zeros((1, 2, 40, 40)), impl="native")


@pytest.mark.parametrize("impl", IMPLS)
def test_a_row_with_nothing_to_attend_to_gives_zeros_to_a_cross_attention(impl):
    arrays = draw(2, 40, 30, 2, 1, 4)
    marks = jnp.ones((2, 40), jnp.int32), jnp.ones((2, 30), jnp.int32).at[1].set(0)
    options = dict(causal=False, query_segments=marks[0], key_segments=marks[1])
    out, *slopes = pull(lambda *x: attend(*x, impl=impl, **options), *arrays)
    for x in (out, *slopes):
        assert np.isfinite(x).all()
        np.testing.assert_array_equal(x[1], 0.0)
        assert np.abs(x[0]).max() > 0
