"""What a readout promises: the logits of its formula, whichever way they are used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.nn.readout import CLOSED, Readout

B, T, D, C = 2, 3, 4, 7
OPEN = np.array([True, False, True, True, False, True, True])
TARGETS = np.array([[0, 2, 3], [6, 5, 0]])


def draw(name: str, *shape: int) -> np.ndarray:
    source = np.random.default_rng(["x", "table", "bias"].index(name))
    return source.standard_normal(shape).astype(np.float32)


def make(*, bias: bool, is_open: bool) -> Readout:
    return Readout(
        jnp.asarray(draw("x", B, T, D)),
        jnp.asarray(draw("table", C, D)),
        bias=jnp.asarray(draw("bias", C)) if bias else None,
        is_open=jnp.asarray(OPEN) if is_open else None,
    )


def expected_logits(*, bias: bool, is_open: bool) -> np.ndarray:
    """In float64, by the formula; minus infinity where a class is closed."""
    x, table = (np.float64(draw(*own)) for own in (("x", B, T, D), ("table", C, D)))
    logits = x @ table.T + (draw("bias", C) if bias else 0.0)
    return np.where(OPEN, logits, -np.inf) if is_open else logits


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


kinds = pytest.mark.parametrize(
    "kind",
    [dict(bias=bias, is_open=is_open) for bias in (0, 1) for is_open in (0, 1)],
    ids=lambda kind: "-".join(name for name in kind if kind[name]) or "plain",
)


@kinds
def test_logits_are_products_with_the_table_and_the_bias(kind):
    expected = expected_logits(**kind)
    for readout in (make(**kind), make(**kind).plain()):
        actual = np.asarray(readout.logits())
        assert actual.dtype == np.float32
        finite = np.isfinite(expected)
        np.testing.assert_allclose(actual[finite], expected[finite], rtol=2e-6)
        assert np.all(actual[~finite] <= CLOSED * 0.99)
        assert np.all(np.isfinite(actual))  # No difference of two is NaN.


@kinds
def test_a_plain_readout_is_a_table_alone(kind):
    plain = make(**kind).plain()
    assert plain.bias is plain.is_open is None
    assert plain.table.shape == (C, D + 2 * bool(kind["bias"] or kind["is_open"]))


def test_a_bias_is_not_rounded_where_operands_are():
    exact = make(bias=True, is_open=False)
    rounded = exact.replace(x=jnp.zeros_like(exact.x), dtype=jnp.bfloat16)
    logits = rounded.plain().logits()
    np.testing.assert_allclose(logits, rounded.logits(), atol=1e-4)


def test_a_closed_class_has_probability_zero_and_the_others_share_it():
    logits = make(bias=True, is_open=True).logits()
    probabilities = np.asarray(jax.nn.softmax(logits))
    assert np.all(probabilities[..., ~OPEN] == 0.0)
    alone = np.asarray(make(bias=True, is_open=False).logits())[..., OPEN]
    expected = np.exp(log_softmax(alone))
    np.testing.assert_allclose(probabilities[..., OPEN], expected, rtol=1e-5)


@kinds
def test_scores_are_those_of_the_logits(kind):
    readout, logits = make(**kind), expected_logits(**kind)
    scores, chosen = readout.scores(jnp.asarray(TARGETS)), TARGETS[..., None]
    target = np.take_along_axis(logits, chosen, -1)[..., 0]
    nats = -np.take_along_axis(log_softmax(logits), chosen, -1)[..., 0]
    np.testing.assert_allclose(scores.target, target, rtol=1e-5)
    # Nats are a difference of numbers near 5, whose last bit is 5e-7.
    np.testing.assert_allclose(scores.nats, nats, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores.log_norm, target + nats, rtol=1e-5, atol=1e-6)


@kinds
def test_a_gradient_goes_the_same_way_through_scores_and_through_logits(kind):
    def blocked(readout: Readout):
        return readout.scores(jnp.asarray(TARGETS)).nats.sum()

    def whole(readout: Readout):
        logs = jax.nn.log_softmax(readout.logits())
        return -jnp.take_along_axis(logs, jnp.asarray(TARGETS)[..., None], -1).sum()

    readout = make(**kind)
    names = ("x", "table", *(["bias"] if kind["bias"] else []))
    parts = {name: getattr(readout, name) for name in names}
    slopes = [
        jax.grad(lambda parts, f=f: f(readout.replace(**parts)))(parts)
        for f in (blocked, whole)
    ]
    for name in names:
        one, other = (slope[name] for slope in slopes)
        assert np.any(one)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    if kind["is_open"]:
        assert not np.any(slopes[0]["table"][~OPEN])


def test_products_have_the_type_that_is_asked_for():
    readout = make(bias=True, is_open=False)
    rounded = Readout(readout.x, readout.table, readout.bias, dtype=jnp.bfloat16)
    exact, actual = readout.logits(), rounded.logits()
    assert actual.dtype == jnp.float32
    assert 1e-4 < np.abs(np.asarray(actual - exact)).max() < 0.1
