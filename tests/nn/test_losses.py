"""Losses that are no choice among classes: their formulas, in nats."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.nn.losses import (
    binary_nats,
    binary_terms,
    focal_factor,
    gaussian_nats,
)

B, T, C = 2, 3, 4
SOURCE = np.random.default_rng(0)
LOGITS = SOURCE.standard_normal((B, T, C)).astype(np.float32)
ANSWERS = SOURCE.uniform(size=(B, T, C)).astype(np.float32)


def test_binary_cross_entropy_is_the_sum_over_answers():
    p = 1 / (1 + np.exp(-np.float64(LOGITS)))
    expected = -(ANSWERS * np.log(p) + (1 - ANSWERS) * np.log(1 - p)).sum(-1)
    actual = binary_nats(jnp.asarray(LOGITS), jnp.asarray(ANSWERS))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_its_gradient_is_the_probability_less_the_answer():
    error = lambda z: binary_nats(z, jnp.asarray(ANSWERS)).sum()
    slope = jax.grad(error)(jnp.asarray(LOGITS))
    p = 1 / (1 + np.exp(-np.float64(LOGITS)))
    np.testing.assert_allclose(slope, p - ANSWERS, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_large_logits_leave_it_finite(size):
    logits, answers = jnp.full((1, 2), size), jnp.array([[1.0, 0.0]])
    value, slope = jax.value_and_grad(lambda z: binary_nats(z, answers).sum())(logits)
    assert float(value) == pytest.approx(1e4)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("variance", [0.25, 1.0, 9.0])
def test_gaussian_nats_are_the_density_of_the_normal_distribution(variance):
    mean, target = LOGITS[..., 0], ANSWERS[..., 0]
    density = np.exp(-((target - mean) ** 2) / (2 * variance))
    density /= math.sqrt(2 * math.pi * variance)
    actual = gaussian_nats(jnp.asarray(mean), jnp.asarray(target), variance)
    np.testing.assert_allclose(actual, -np.log(density), rtol=1e-5)


def test_both_are_summed_in_float32():
    half = jnp.asarray(LOGITS, jnp.bfloat16)
    assert binary_nats(half, jnp.asarray(ANSWERS)).dtype == jnp.float32
    mean = gaussian_nats(half[..., 0], jnp.asarray(ANSWERS[..., 0]), 1.0)
    assert mean.dtype == jnp.float32


def test_terms_of_answers_add_up():
    terms = binary_terms(jnp.asarray(LOGITS), jnp.asarray(ANSWERS))
    whole = binary_nats(jnp.asarray(LOGITS), jnp.asarray(ANSWERS))
    assert terms.shape == LOGITS.shape
    np.testing.assert_allclose(terms.sum(-1), whole, rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_factor_is_a_power_of_what_is_missed(gamma):
    p = np.array([0.02, 0.5, 0.9])
    actual = focal_factor(jnp.asarray(-np.log(p)), gamma)
    np.testing.assert_allclose(actual, (1 - p) ** gamma, rtol=1e-5)
    loss = lambda nats: focal_factor(nats, gamma) * nats
    assert np.isfinite(jax.grad(loss)(0.0))  # Of a target that is sure.
