"""What the fused cross entropy promises."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilers import needs_compiler
from hypothesis import given, settings
from hypothesis import strategies as st

from slimjax import native
from slimjax.native import library
from slimjax.nn.cross_entropy import cross_entropy, score_targets


def reference(x, embedding, targets, label_smoothing=0.0, z_loss=0.0):
    logits = x @ embedding.T
    log_probs = jax.nn.log_softmax(logits)
    hot = jax.nn.one_hot(targets, len(embedding)) * (1 - label_smoothing)
    soft = hot + label_smoothing / len(embedding)
    penalty = z_loss * jax.nn.logsumexp(logits, -1) ** 2
    return -(soft * log_probs).sum(-1) + penalty


def draw(num_tokens, width, vocab_size):
    keys = jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(keys[0], (2, num_tokens, width))
    embedding = jax.random.normal(keys[1], (vocab_size, width))
    targets = jax.random.randint(keys[2], (2, num_tokens), 0, vocab_size)
    return x, embedding, targets, jax.random.normal(keys[3], (2, num_tokens))


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    *(st.integers(1, 40), st.integers(1, 20), st.integers(2, 70)),
    *(st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 1e-2])),
)
def test_losses_and_gradients_are_those_of_the_formula(t, d, v, smoothing, z_loss):
    assert_formula(t, d, v, smoothing, z_loss, block_tokens=16)


@needs_compiler
def test_native_losses_and_gradients_are_those_of_the_formula(monkeypatch):
    monkeypatch.setattr(native, "is_enabled", library.register)
    assert_formula(40, 20, 300, 0.1, 1e-2)


@pytest.mark.parametrize("sizes", [(1, 2, 2, 2), (2, 1, 4, 1)])
def test_the_devices_of_a_mesh_share_tokens_and_vocabulary(sizes):
    """With 12 and with 10 entries: the second vocabulary cannot be cut in four."""
    axes, auto = ("data", "fsdp", "model", "context"), (jax.sharding.AxisType.Auto,) * 4
    with jax.set_mesh(jax.make_mesh(sizes, axes, auto)):
        assert_formula(6, 8, 12 if sizes[1] == 2 else 10, 0.1, 1e-2, block_tokens=5)
        x, table, targets, _ = draw(8, 8, 16)
        loss = lambda x: score_targets(x, table, targets, block_tokens=4).nats.sum()
        text = jax.jit(jax.grad(loss)).lower(x).compile().as_text()
    assert not re.search(r"\[2,8,8\]\S* all-gather", text)


def assert_formula(t, d, v, smoothing, z_loss, **blocks):
    x, embedding, targets, weights = draw(t, d, v)
    terms = {"label_smoothing": smoothing, "z_loss": z_loss}

    def expected(x, embedding, weights):
        return (weights * reference(x, embedding, targets, **terms)).sum()

    def each(x, embedding, weights):
        scores = score_targets(x, embedding, targets, **blocks)
        return (weights * scores.loss(**terms)).sum()

    def run(fn):
        return jax.jit(jax.value_and_grad(fn, (0, 1, 2)))(x, embedding, weights)

    wanted = jax.tree.leaves(run(expected))
    for a, b in zip(jax.tree.leaves(run(each)), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def assert_formula_with_offsets(seed_of_open, **blocks):
    """Compares scores and gradients with those of whole logits; some are closed."""
    x, embedding, targets, weights = draw(21, 8, 50)
    bias = jax.random.normal(jax.random.key(5), (50,))
    is_open = None
    if seed_of_open is not None:
        is_open = jax.random.bernoulli(jax.random.key(seed_of_open), 0.6, (50,))
        kept = np.flatnonzero(is_open)
        targets = jnp.asarray(kept)[targets % len(kept)]

    def expected(x, embedding, bias):
        logits = x @ embedding.T + bias[None, None]
        count = 50 if is_open is None else is_open.sum()
        own = jnp.ones(50, bool) if is_open is None else is_open
        mean = jnp.where(own[None, None], logits, 0.0).sum(-1) / count
        logits = jnp.where(own[None, None], logits, -jnp.inf)
        norm = jax.nn.logsumexp(logits, -1)
        right = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
        return (weights * (norm - right + 0.1 * (right - mean) + 0.01 * norm**2)).sum()

    def actual(x, embedding, bias):
        more = dict(bias=bias, is_open=is_open, **blocks)
        loss = score_targets(x, embedding, targets, **more).loss(0.1, 0.01)
        return (weights * loss).sum()

    run = lambda fn: jax.jit(jax.value_and_grad(fn, (0, 1, 2)))(x, embedding, bias)
    wanted, found = run(expected), run(actual)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    if is_open is not None:
        closed = np.setdiff1d(np.arange(50), kept)
        for slope in found[1][1:]:
            np.testing.assert_array_equal(slope[closed], 0.0)


@pytest.mark.parametrize("seed_of_open", [None, 3])
def test_a_bias_is_added_and_closed_entries_have_no_probability(seed_of_open):
    assert_formula_with_offsets(seed_of_open, block_tokens=16)


@needs_compiler
@pytest.mark.parametrize("seed_of_open", [None, 3])
def test_the_native_kernel_takes_a_bias_and_closed_entries(seed_of_open, monkeypatch):
    monkeypatch.setattr(native, "is_enabled", library.register)
    assert_formula_with_offsets(seed_of_open)


@needs_compiler
def test_a_bias_is_not_rounded_with_the_operands(monkeypatch):
    monkeypatch.setattr(native, "is_enabled", library.register)
    x, embedding, targets, _ = draw(40, 8, 50)
    bias = 30 + jax.random.normal(jax.random.key(5), (50,))
    score = lambda **more: score_targets(
        x, embedding, targets, dtype=jnp.bfloat16, **more
    )
    plain, moved = score(), score(bias=bias)
    np.testing.assert_allclose(moved.target - plain.target, bias[targets], atol=1e-4)


@pytest.mark.parametrize("sizes", [(1, 2, 2, 2), (2, 1, 4, 1)])
def test_the_devices_of_a_mesh_share_a_bias(sizes):
    axes, auto = ("data", "fsdp", "model", "context"), (jax.sharding.AxisType.Auto,) * 4
    with jax.set_mesh(jax.make_mesh(sizes, axes, auto)):
        assert_formula_with_offsets(3, block_tokens=5)


def test_closed_entries_are_as_if_cut():
    x, embedding, targets, _ = draw(9, 8, 50)
    is_open = jnp.arange(50) % 3 > 0
    kept = np.flatnonzero(is_open)
    places = targets % len(kept)
    closed = score_targets(x, embedding, jnp.asarray(kept)[places], is_open=is_open)
    small = score_targets(x, embedding[kept], places)
    for a, b in zip(closed, small, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_bfloat16_products_stay_near_float32():
    x, embedding, targets, _ = draw(100, 32, 64)
    embedding *= 0.1

    def mean(x, embedding, dtype):
        return cross_entropy(x, embedding, targets, dtype=dtype).mean()

    run = jax.jit(jax.grad(mean, (0, 1)), static_argnums=2)
    exact, rough = (run(x, embedding, t) for t in (jnp.float32, jnp.bfloat16))
    for a, b in zip(exact, rough, strict=True):
        assert jnp.linalg.norm(a - b) < 0.01 * jnp.linalg.norm(a)


def test_all_logits_are_never_in_memory_at_once():
    x, embedding, targets, _ = draw(1024, 32, 512)

    def total(x, embedding):
        return score_targets(x, embedding, targets, block_tokens=256).nats.sum()

    text = jax.jit(jax.grad(total, (0, 1))).lower(x, embedding).compile().as_text()
    assert not any(s in text for s in ("[2048,512]", "[512,2048]", "[8,256,512]"))
    assert "[512,256]" in text


def test_huge_logits_overflow_nothing():
    x, embedding = jnp.full((1, 3), 1e4), jnp.diag(jnp.array([1.0, 2.0, 3.0]))
    loss = cross_entropy(x, embedding, jnp.array([0]))
    np.testing.assert_allclose(loss, [2e4], rtol=1e-6)
