"""What every attention kernel promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention_laws import assert_laws, draw, pull, segments_of
from compilers import NATIVE, needs_compiler
from hypothesis import given, settings
from hypothesis import strategies as st

from slimjax.nn.attention_blocked import attend_blocked
from slimjax.nn.attention_kernels import attend
from slimjax.nn.attention_native import attend_native
from slimjax.nn.positions import rotate, rotation_table


def attend_slowly(query, key, value, see):
    """Loops over rows in float64; `see` is [B T S]."""
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    group = query.shape[2] // key.shape[2]
    out = np.zeros_like(query)
    for b, t, n in np.ndindex(*query.shape[:3]):
        seen = np.flatnonzero(see[b, t])
        if not len(seen):
            continue
        logits = key[b, seen, n // group] @ query[b, t, n] * query.shape[-1] ** -0.5
        weights = np.exp(logits - logits.max())
        out[b, t, n] = weights @ value[b, seen, n // group] / weights.sum()
    return out


@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    st.integers(1, 50),
    st.sampled_from([(1, 1), (4, 4), (4, 2), (3, 1)]),
    st.sampled_from([None, 1, 5, 33]),
    st.booleans(),
    st.sampled_from([(None, None), (16, 16), (32, 48)]),
)
def test_blocked_is_exact(length, heads, window, packed, tiles):
    arrays = draw(2, length, length, *heads, 8)
    options: dict = {"window": window}
    if packed:
        segments = segments_of(2, length)
        options |= {"query_segments": segments, "key_segments": segments}
    assert_laws(arrays, options, rough=True, rows=tiles[0], columns=tiles[1])


@pytest.mark.parametrize("tiles", [(32, 48), (48, 32), (64, 16), (16, 64)])
@pytest.mark.parametrize("length", [60, 130])
def test_the_diagonal_is_hidden_whatever_the_tiles(tiles, length):
    arrays = draw(2, length, length, 2, 1, 4)
    assert_laws(arrays, {}, rows=tiles[0], columns=tiles[1])


@needs_compiler
@settings(max_examples=settings.default.max_examples // 3)
@given(
    *(st.integers(1, 3), st.integers(1, 300), st.sampled_from([2, 8, 34, 64, 80])),
    st.sampled_from([(1, 1), (4, 4), (4, 2), (3, 1)]),
    st.sampled_from([None, 1, 5, 33, 150]),
    st.booleans(),
)
def test_native_is_exact(batch_size, length, head_dim, heads, window, packed):
    arrays = draw(batch_size, length, length, *heads, head_dim)
    options: dict = {"window": window}
    if packed:
        segments = segments_of(batch_size, length)
        options |= {"query_segments": segments, "key_segments": segments}
    assert_laws(arrays, options, kernel=attend_native, rough=True)


@needs_compiler
@pytest.mark.parametrize(("num_queries", "num_keys"), [(40, 40), (5, 170), (170, 5)])
def test_native_is_exact_without_a_causal_mask(num_queries, num_keys):
    arrays = draw(2, num_queries, num_keys, 4, 2, 8)
    assert_laws(arrays, {"causal": False}, kernel=attend_native)


@needs_compiler
@pytest.mark.parametrize("window", [None, 7])
def test_native_is_exact_with_positions_in_any_order(window):
    positions = jax.random.permutation(jax.random.key(0), 300)[None, :200]
    arrays = draw(1, 200, 300, 4, 2, 8)
    options = {"query_positions": positions, "window": window}
    assert_laws(arrays, options, kernel=attend_native)


@needs_compiler
def test_native_is_exact_where_the_keys_come_in_pieces():
    """Gradients of keys are summed over 1,024 of them at a time."""
    assert_laws(draw(1, 1300, 1300, 2, 1, 16), {}, kernel=attend_native)


@pytest.mark.parametrize("impl", ["reference", "blocked", NATIVE])
def test_a_rotation_turns_queries_and_keys_first(impl):
    query, key, value, slope = draw(2, 50, 50, 4, 2, 12)
    table = rotation_table(jnp.arange(100).reshape(2, 50), 12, 1e4)

    def turned(query, key, value):
        return attend(rotate(query, table), rotate(key, table), value, impl="reference")

    def inside(query, key, value):
        return attend(query, key, value, rotation=table, impl=impl)

    expected = pull(turned, query, key, value, slope)
    for a, b in zip(pull(inside, query, key, value, slope), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("num_queries", "num_keys"), [(40, 40), (5, 70), (70, 5)])
def test_blocked_is_exact_without_a_causal_mask(num_queries, num_keys):
    arrays = draw(2, num_queries, num_keys, 4, 2, 8)
    assert_laws(arrays, {"causal": False}, rows=16, columns=32)


@pytest.mark.parametrize("window", [None, 7])
def test_blocked_is_exact_with_a_cache(window):
    positions = jnp.array([[3, 4, 5], [50, 51, 52]])
    arrays = draw(2, 3, 70, 4, 2, 8)
    options = {"query_positions": positions, "window": window}
    assert_laws(arrays, options, rows=16, columns=16)


@pytest.mark.parametrize("impl", ["reference", "blocked", NATIVE, "auto"])
def test_each_kernel_is_the_formula(impl):
    query, key, value, _ = draw(2, 21, 21, 6, 2, 4)
    segments = segments_of(2, 21)
    see = np.tri(21, dtype=bool) & ~np.tri(21, k=-6, dtype=bool)
    same = (segments[:, :, None] == segments[:, None]) & (segments > 0)[..., None]
    see = see[None] & np.asarray(same)
    actual = attend(
        *(query, key, value),
        window=6,
        query_segments=segments,
        key_segments=segments,
        impl=impl,
    )
    expected = attend_slowly(query, key, value, see)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("impl", ["reference", "blocked", NATIVE])
def test_rows_that_see_nothing_give_zeros_and_pass_nothing_on(impl, dtype):
    arrays = draw(1, 20, 20, 2, 1, 4)
    segments = jnp.zeros((1, 20), jnp.int32).at[:, :8].set(1)
    options = {"query_segments": segments, "key_segments": segments}
    fn = lambda q, k, v: attend(q, k, v, impl=impl, dtype=dtype, **options)
    for x in pull(fn, *arrays):
        assert np.isfinite(x).all()
        np.testing.assert_array_equal(x[:, 8:], 0.0)


@pytest.mark.parametrize("impl", ["reference", "blocked"])
def test_the_past_does_not_see_the_future(impl):
    query, key, value, _ = draw(1, 40, 40, 2, 2, 4)
    past = lambda k, v: attend(query, k, v, impl=impl)[:, :23].sum()
    for grad in jax.grad(past, (0, 1))(key, value):
        np.testing.assert_array_equal(grad[:, 23:], 0.0)
        assert np.abs(grad[:, :23]).sum() > 0


def test_packed_texts_are_as_if_alone():
    query, key, value, _ = draw(1, 30, 30, 2, 1, 4)
    segments = jnp.where(jnp.arange(30) < 12, 1, 2)[None]
    packed = attend(
        query,
        key,
        value,
        query_segments=segments,
        key_segments=segments,
        impl="blocked",
    )
    for part in (slice(0, 12), slice(12, 30)):
        alone = attend(query[:, part], key[:, part], value[:, part])
        np.testing.assert_allclose(packed[:, part], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("impl", "window"),
    [
        ("blocked", None),
        ("blocked", 100),
        pytest.param("native", None, marks=NATIVE.marks),
    ],
)
def test_no_square_matrix_is_ever_made(impl, window):
    fn = lambda *args: attend(*args, window=window, impl=impl)
    text = compile_pull(fn, 1024).as_text()
    assert "1024,2,16]" in text
    assert "1024,1024]" not in text
    if window:
        assert "1024,128]" not in text


def test_memory_grows_no_faster_than_the_length():
    fn = lambda *args: attend_blocked(*args, rows=128, columns=128)
    short, long = (
        compile_pull(fn, length).memory_analysis().temp_size_in_bytes
        for length in (256, 512)
    )
    assert long < 2.2 * short


def compile_pull(fn, length):
    """Returns the compiled output and gradients of 2 heads of width 16."""

    def run(query, key, value, slope):
        out, vjp = jax.vjp(fn, query, key, value)
        return out, *vjp(slope)

    return jax.jit(run).lower(*draw(1, length, length, 2, 2, 16)).compile()


@pytest.mark.wrong_types
def test_contradictions_are_refused():
    query, key, value, _ = draw(1, 4, 4, 2, 2, 4)
    segments = jnp.ones((1, 4), jnp.int32)
    for options in (
        {"impl": "fast"},
        {"causal": False, "query_positions": segments},
        {"query_segments": segments},
        {"window": 0},
        {"bias": jnp.zeros((1, 1, 4, 4))},
        {"dropout": 1.0, "dropout_key": jax.random.key(0)},
    ):
        with pytest.raises(ValueError, match=r"."):
            attend(query, key, value, **options)
    with pytest.raises(ValueError, match="3 query heads"):
        attend(query[:, :, :1].repeat(3, 2), key, value)
